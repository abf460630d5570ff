"""The loop over epochs and steps: PML's, made repeatable, and without waiting for the device in every step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_metric_learning.trainers import TwoStreamMetricLoss
from torch import Tensor
from torch.utils.data import BatchSampler
from tqdm import tqdm

from ..samplers.seeded_loading import EpochSampler, SeededBatches, SeededItems
from ..utils.distributed import gather_objects, share_of, world_size
from ..utils.errors import UserError
from ..utils.loading import ReportingLoader
from ..utils.seed import one_thread_worker
from .batches import Batch
from .step_meter import NonFiniteLossError, StepMeter


class Stopped(KeyboardInterrupt):
    """A training was asked to stop, and stands where its state can be saved and gone on from.

    Args:
        agreed: all processes stop at this place.
    """

    def __init__(self, agreed: bool = False):
        super().__init__()
        self.agreed = agreed


class EpochLoop(TwoStreamMetricLoss):
    """`TwoStreamMetricLoss` with a seeded loader and a loop that reads the losses once in `log_every` steps.

    Hooks, schedulers and the meaning of `train(start_epoch, num_epochs)` are PML's. For hooks to read, at the end
    of an epoch: `epoch_losses` (means over its steps) and `epoch_stats` (`grad_norm`, `lr`,
    `pairs_per_second`, `data_wait_share`).

    Under `torchrun`, `batch_size` is that of all processes together, and each loads its part of every batch.

    The order of an epoch, and the random draws of its items, depend on `(seed, epoch)` only, unless a `sampler`
    is given. One that has `set_epoch` is told the epoch and started anew for each; any other runs on over the
    epochs, as in PML.

    `stop_requested`, which a signal handler may set, ends the training after the step that it is in.

    Args:
        *args: see `pytorch_metric_learning.trainers.BaseTrainer`.
        seed: of the order and of the draws of the items.
        pin_memory: load into page-locked memory; by default where the device is a GPU.
        log_every: steps between two readings of the losses.
        progress: show a progress bar.
        begin_epoch_hook: called with the trainer when an epoch begins, and when a resumed training goes on within one.
        on_log: called with a dict of plain numbers at every reading: `epoch`, `step`, the mean of each loss
            since the last one, and the entries of `epoch_stats`.
        **kwargs: see `BaseTrainer`.

    Raises:
        UserError: in `train`, if a batch would hold one pair, or the data do not fill one batch.
        NonFiniteLossError: in `train`, at most `log_every` steps after the step that it names.
        Stopped: in `train`, after the step in which `stop_requested` became true; with several processes, after the
            next reading of the losses.
    """

    iterations_per_epoch: Any  # int; None until `train` has made the loader

    def __init__(
        self,
        *args: Any,
        seed: int = 0,
        pin_memory: bool | None = None,
        log_every: int = 50,
        progress: bool = True,
        begin_epoch_hook: Callable[[Any], None] | None = None,
        on_log: Callable[[dict[str, float]], None] | None = None,
        **kwargs: Any,
    ):
        if log_every < 1:
            raise ValueError(f"log_every counts steps and must be at least 1, not {log_every}.")
        self.seed = seed
        self.pin_memory = pin_memory
        self.log_every = log_every
        self.progress = progress
        self.begin_epoch_hook = begin_epoch_hook
        self.on_log = on_log
        self.epoch = 0  # the last one that was begun
        self.steps_done = 0  # of that epoch
        self.epoch_ended = False  # whether nothing of it is left but the hook
        self.in_steps = False  # between the first and the last step of an epoch
        self.stop_requested = False
        self.resume_at: dict[str, Any] | None = None  # a `position` where the next training begins
        self.best: Any = None  # for hooks: what the best epoch was; kept in training states
        self.last_checkpoint: Path | None = None
        self.meter: Any = None  # the StepMeter of the current epoch
        self.grad_norm: torch.Tensor | float = 0.0  # of the last step
        self.dataloader_iter: Any = None
        self.epoch_losses: dict[str, float] = {}
        self.epoch_stats: dict[str, float] = {}
        super().__init__(*args, **kwargs)

    def train(self, start_epoch: int = 1, num_epochs: int = 1) -> None:
        """Train from `start_epoch` up to and including `num_epochs`, or until a hook at an epoch's end says False.

        Whatever ends the training, Ctrl-C included, the workers of the loader are gone afterwards.
        """
        self.epoch = start_epoch
        self.begin_epoch()
        try:
            self.initialize_dataloader()
            for self.epoch in range(start_epoch, num_epochs + 1):
                if self.epoch > start_epoch:
                    self.begin_epoch()
                    self.restart_loader()
                if not self.epoch_ended:
                    self.train_epoch(num_epochs)
                if self.end_of_epoch_hook(self) is False:
                    break
        finally:
            self.in_steps = False
            self.stop_workers()

    def begin_epoch(self) -> None:
        """Set what an epoch came to so far: to nothing, or to what `resume_at` says."""
        self.meter = StepMeter([*self.loss_names, "grad_norm"], self.data_device, self.log_every)
        self.steps_done, self.epoch_ended = 0, False
        if self.resume_at is not None:
            self.steps_done, self.epoch_ended = self.resume_at["steps_done"], self.resume_at["epoch_ended"]
            self.epoch_losses, self.epoch_stats = self.resume_at["losses"], self.resume_at["stats"]
            self.meter.load_state_dict(self.resume_at["meter"])
        self.resume_at = None
        if self.begin_epoch_hook is not None:
            self.begin_epoch_hook(self)

    def position(self) -> dict[str, Any]:
        """Return where within `self.epoch` the training stands; `resume_at` takes it."""
        return {
            "steps_done": self.steps_done, "epoch_ended": self.epoch_ended, "losses": self.epoch_losses,
            "stats": self.epoch_stats, "meter": self.meter.state_dict(),
        }  # fmt: skip

    def train_epoch(self, num_epochs: int) -> None:
        """Train for what is left of an epoch, without the hook at its end."""
        self.in_steps = True
        self.set_to_train()
        title, done = f"epoch {self.epoch}/{num_epochs}", self.steps_done
        with tqdm(
            total=self.iterations_per_epoch, initial=done, desc=title, unit="step", disable=not self.progress
        ) as bar:
            for self.iteration in range(done, self.iterations_per_epoch):
                batch = self.forward_and_backward()
                self.meter.add([*(self.losses[name] for name in self.loss_names), self.grad_norm], batch.labels)
                self.end_of_iteration_hook(self)
                bar.update()
                reads = self.meter.full or self.iteration + 1 == self.iterations_per_epoch
                if reads:
                    self.log(bar)
                self.step_lr_schedulers(end_of_epoch=False)
                self.steps_done = self.iteration + 1
                self.stop_if_requested(reads)
        self.epoch_losses = self.meter.means()
        self.epoch_stats = {"grad_norm": self.epoch_losses.pop("grad_norm"), **self.rates()}
        self.step_lr_schedulers(end_of_epoch=True)
        self.zero_losses()
        self.epoch_ended, self.in_steps = True, False
        self.stop_if_requested(True)

    def stop_if_requested(self, all_meet: bool) -> None:
        """Raise `Stopped` if that was requested: of any process, which is asked where `all_meet` here."""
        if world_size() == 1:
            requested = self.stop_requested
        else:
            requested = all_meet and any(gather_objects(self.stop_requested))
        if requested:
            self.stop_requested = False
            raise Stopped(agreed=True)

    def log(self, bar: tqdm) -> None:
        """Read the losses since the last reading, and show and report them.

        Raises:
            NonFiniteLossError: one is not finite.
        """
        means, bad = self.meter.read()
        if bad is not None:
            raise NonFiniteLossError(
                bad.quantity, bad.value, self.epoch, bad.step, bad.places, checkpoint=self.last_checkpoint
            )
        rates = self.rates()
        shown = {"loss": f"{means['total_loss']:.4g}", "lr": f"{rates['lr']:.3g}"}
        speed = {"pairs/s": f"{rates['pairs_per_second']:.3g}", "data wait": f"{rates['data_wait_share']:.0%}"}
        bar.set_postfix({**shown, **speed})
        if self.on_log is not None:
            self.on_log({"epoch": self.epoch, "step": self.iteration, **means, **rates})

    def rates(self) -> dict[str, float]:
        """Return the learning rate (of the first parameter group of the first optimizer) and the speed."""
        groups = [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]
        speed = self.meter.speed()
        speed["pairs_per_second"] *= world_size()
        return {"lr": float(groups[0]["lr"]) if groups else 0.0, **speed}

    def load_batch(self) -> Batch:
        """Return the next batch on the device; the time until it is loaded counts as waiting for data."""
        with contextlib.nullcontext() if self.meter is None else self.meter.waiting():  # None in steps without train()
            (query, reference), labels = self.get_batch()
        query, reference, labels = self.to_device(query, reference, labels)
        return Batch(query, reference, labels, self.dataloader.batch_sampler.issued.popleft())

    def to_device(self, *tensors: Tensor) -> list[Tensor]:
        """Return tensors `[...]` on the device of the training."""
        return [tensor.to(self.data_device, non_blocking=True) for tensor in tensors]

    def initialize_dataloader(self) -> None:
        """Make the loader, and start it for `self.epoch`.

        Raises:
            UserError: there is no batch, or processes cannot share it evenly.
        """
        share_of(int(self.batch_size))  # processes of unequal parts would not meet in gather_rows
        workers = self.dataloader_num_workers
        on_gpu = torch.device(self.data_device).type == "cuda"
        self.dataloader = ReportingLoader(
            SeededItems(self.dataset),
            batch_sampler=SeededBatches(self.batches(), self.seed),
            num_workers=workers,
            collate_fn=self.collate_fn,
            pin_memory=on_gpu if self.pin_memory is None else self.pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=one_thread_worker,
            generator=torch.Generator().manual_seed(self.seed),  # else each passage would draw from the training's
        )
        self.stop_workers()  # of an earlier loader
        self.restart_loader()
        if not self.iterations_per_epoch:
            self.iterations_per_epoch = len(self.dataloader)
        if not self.iterations_per_epoch:
            raise UserError("The batch sampler gives no batch.", "Check it, or leave it out for a plain shuffle.")

    def restart_loader(self) -> None:
        """Tell the samplers the epoch, and start the loader anew where they have an order for each."""
        per_epoch = self.dataloader.batch_sampler.set_epoch(self.epoch, first=self.steps_done)
        if per_epoch or self.dataloader_iter is None:
            self.dataloader_iter = iter(self.dataloader)

    def batches(self) -> BatchSampler:
        """Return the batches of an epoch, whole ones alone; a batch sampler is taken as it is.

        Raises:
            UserError: a batch would hold one pair, or the data do not fill one.
        """
        if isinstance(self.sampler, BatchSampler):
            return self.sampler
        size = int(self.batch_size)
        if size < 2:
            raise UserError(f"A batch of {size} holds no negatives to learn from.", "Choose a batch size of 2 or more.")
        source = self.dataset if self.sampler is None else self.sampler
        count = len(source) if hasattr(source, "__len__") else size  # a sampler may go on for ever
        if count < size:
            raise UserError(
                f"{count} training pairs do not fill one batch of {size}.",
                "Choose a smaller batch size, or more pairs.",
            )
        sampler = self.sampler
        if sampler is None:
            sampler = EpochSampler(count, size, self.seed, self.iterations_per_epoch)
        return BatchSampler(sampler, size, drop_last=True)

    def stop_workers(self) -> None:
        """End the loader's workers now; a traceback that is being shown would keep them alive otherwise."""
        shut_down = getattr(self.dataloader_iter, "_shutdown_workers", None)
        if shut_down is not None:
            with contextlib.suppress(RuntimeError):  # of a worker that has ended already
                shut_down()
        self.dataloader_iter = None
