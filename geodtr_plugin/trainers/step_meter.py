"""What the steps of an epoch amounted to, read from the device once in many steps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..utils.errors import UserError

PLACES_SHOWN = 8  # enough to find the images by; a batch can have hundreds


class NonFiniteLossError(UserError):
    """A loss or the norm of the gradient became NaN or infinite.

    Args:
        quantity: what did, for instance `"metric_loss"`.
        value: what it became.
        epoch: where, counted from 1.
        step: the step within the epoch, counted from 0 as `trainer.iteration` is.
        places: labels of the batch of that step.
        checkpoint: the last state saved before, if there is one.
    """

    def __init__(
        self, quantity: str, value: float, epoch: int, step: int, places: Sequence[int], checkpoint: Path | None
    ):
        self.quantity, self.value, self.epoch, self.step = quantity, value, epoch, step
        self.places, self.checkpoint = list(places), checkpoint
        shown = ", ".join(map(str, self.places[:PLACES_SHOWN]))
        more = f" and {len(self.places) - PLACES_SHOWN} more" if len(self.places) > PLACES_SHOWN else ""
        saved = f"Go on from {checkpoint}, the last state before it"
        start = saved if checkpoint else "Start again (no state was saved)"
        super().__init__(
            f"{quantity} became {value} in epoch {epoch}, step {step} (places {shown}{more}).",
            f"{start} with a lower learning rate, gradient clipping or fp32, or without these places.",
        )


@dataclass(frozen=True)
class BadStep:
    """The first step of a window with a value that is not finite."""

    step: int  # within the epoch, from 0
    quantity: str
    value: float
    places: list[int]


class StepMeter:
    """Collect scalars of every step on the device; the host waits for them only in `read`.

    Args:
        names: what the scalars of a step are called.
        device: where they are.
        window: at most so many steps are collected between two readings.
    """

    def __init__(self, names: Sequence[str], device: torch.device | str, window: int):
        self.names = list(names)
        self.rows = torch.zeros(window, len(self.names), device=device)
        self.labels: list[torch.Tensor] = []
        self.steps = 0  # read so far
        self.sums = torch.zeros(len(self.names), dtype=torch.float64)
        self.pairs = 0
        self.waited = 0.0  # seconds in which the device had nothing to do but to wait for the next batch
        self.device = torch.device(device)
        self.gaps: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []  # of a GPU, not yet read
        self.started = time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Measure, around the loading of a batch, how long the device waits for it.

        A GPU may still work on what was queued while the host stands still. So marks are queued before and after: they
        are as far apart on the device's clock as the device was without work.
        """
        on_gpu = self.device.type == "cuda"
        begun = _mark(self.device) if on_gpu else time.perf_counter()
        yield
        if on_gpu:
            self.gaps.append((begun, _mark(self.device)))
        else:
            self.waited += time.perf_counter() - begun

    def add(self, values: Sequence[torch.Tensor | float], labels: torch.Tensor) -> None:
        """Take in one step.

        Args:
            values: one scalar a name; those that are tensors stay on the device.
            labels: the places of the batch, int64 `[B]`, kept for `BadStep`.
        """
        self.rows[len(self.labels)] = torch.stack([self._scalar(value) for value in values])
        self.labels.append(labels)
        self.pairs += len(labels)

    @property
    def full(self) -> bool:
        """Whether `read` is due."""
        return len(self.labels) == len(self.rows)

    def read(self) -> tuple[dict[str, float], BadStep | None]:
        """Wait for the device, and empty the window.

        Returns:
            The means over the steps of the window, and the first of these steps that was not finite, if one was.
        """
        rows = self.rows[: len(self.labels)].cpu().double()
        self._read_gaps()
        bad = self._first_bad(rows)
        self.steps += len(rows)
        self.sums += rows.sum(0)
        self.labels = []
        return self._named(rows.mean(0)), bad

    def means(self) -> dict[str, float]:
        """Return the means over all steps that have been read."""
        return self._named(self.sums / max(1, self.steps))

    def state_dict(self) -> dict[str, Any]:
        """Return what an epoch came to so far, with the steps that were not read yet."""
        self._read_gaps()
        seconds = time.perf_counter() - self.started
        return {
            "rows": self.rows[: len(self.labels)].cpu(), "labels": [labels.cpu() for labels in self.labels],
            "steps": self.steps, "sums": self.sums.clone(), "pairs": self.pairs, "waited": self.waited,
            "seconds": seconds,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.labels = [labels.to(self.device) for labels in state["labels"]]
        self.rows[: len(self.labels)] = state["rows"].to(self.rows)
        self.steps, self.sums, self.pairs, self.waited = (state[n] for n in ("steps", "sums", "pairs", "waited"))
        self.started = time.perf_counter() - state["seconds"]

    def speed(self) -> dict[str, float]:
        """Return seconds since the start, pairs a second, and the share of time in which the device waited for data.

        On a GPU, the waits since the last reading are not in it yet.
        """
        seconds = max(time.perf_counter() - self.started, 1e-9)
        waiting = self.waited / seconds
        return {"seconds": seconds, "pairs_per_second": self.pairs / seconds, "data_wait_share": waiting}

    def _read_gaps(self) -> None:
        self.waited += sum(begun.elapsed_time(ended) for begun, ended in self.gaps) / 1000  # from milliseconds
        self.gaps = []

    def _scalar(self, value: torch.Tensor | float) -> torch.Tensor:
        if not isinstance(value, torch.Tensor):
            return self.rows.new_full((), value)  # filled on the device: a copy from the host would wait for it
        return value.detach().reshape(()).to(self.rows, non_blocking=True)

    def _first_bad(self, rows: torch.Tensor) -> BadStep | None:
        bad = (~rows.isfinite()).nonzero()
        if len(bad) == 0:
            return None
        row, column = bad[0].tolist()
        places = self.labels[row].flatten().tolist()
        return BadStep(self.steps + row, self.names[column], rows[row, column].item(), places)

    def _named(self, values: torch.Tensor) -> dict[str, float]:
        return dict(zip(self.names, values.tolist()))


def _mark(device: torch.device) -> torch.cuda.Event:
    """Put a mark into a GPU's queue that knows when the GPU came to it."""
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event
