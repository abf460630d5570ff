"""Looking on as a trainer trains: when batches come, and what the GPU does meanwhile."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from geodtr_plugin import CrossViewTrainer


class Watch:
    """Looks on as a trainer goes through an epoch.

    Args:
        trainer: whose hooks are free.
        skip: the clock starts when the device is done with so many steps, as the trainer asks for the next batch.

    Attributes:
        first: seconds until the first batch was there; `waited`: those in which the trainer stood still for it.
        seconds: from the start of the clock until the device was done with the last step.
    """

    def __init__(self, trainer: CrossViewTrainer, skip: int):
        vars(trainer).pop("get_batch", None)  # an earlier one's, or that of a Step
        self.load, self.skip, self.taken = trainer.get_batch, skip, 0
        self.trainer = trainer
        self.first = self.waited = self.begun = self.seconds = 0.0
        self.marks: list[torch.cuda.Event] = []  # the start of the clock, then both ends of every step

    def run(self, epoch: int) -> None:
        """Train that epoch."""
        self.trainer.get_batch = self.get_batch
        self.trainer.end_of_iteration_hook = lambda trainer: self.mark()
        self.trainer.end_of_epoch_hook = self.end
        self.started = time.perf_counter()
        self.trainer.train(epoch, epoch)

    def get_batch(self) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """The trainer's."""
        if self.taken == self.skip:
            self.begun = now(self.trainer)
            self.mark()
        asked = time.perf_counter()
        batch = self.load()
        if self.taken == 0:
            there = time.perf_counter()
            self.first, self.waited = there - self.started, there - asked
        self.taken += 1
        self.mark()
        return batch

    def mark(self) -> None:
        """Note where the GPU is, once the clock runs."""
        if on_gpu(self.trainer) and self.begun:
            self.marks.append(torch.cuda.Event(enable_timing=True))
            self.marks[-1].record(torch.cuda.current_stream(self.trainer.data_device))

    def end(self, trainer: CrossViewTrainer) -> None:
        """The epoch is over."""
        self.seconds = now(trainer) - self.begun

    def within(self) -> float | None:
        """Share of the time that the GPU spent within steps; gaps between steps are those in which it had no batch."""
        if not self.marks:
            return None
        begun, *ends = self.marks
        steps = zip(ends[::2], ends[1::2])
        return sum(first.elapsed_time(last) for first, last in steps) / begun.elapsed_time(ends[-1])


def now(trainer: CrossViewTrainer) -> float:
    """Seconds on the clock, the device being done with all that was asked of it."""
    if on_gpu(trainer):
        torch.cuda.synchronize(trainer.data_device)
    return time.perf_counter()


def on_gpu(trainer: CrossViewTrainer) -> bool:
    """Whether there is a device that works while the host does something else."""
    return torch.device(trainer.data_device).type == "cuda"
