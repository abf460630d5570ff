"""What can stop a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
        way_back = (
            f"The last good state is {checkpoint}: go on from there"
            if checkpoint
            else "No state was saved before it: start again"
        )
        super().__init__(
            f"{quantity} became {value} in epoch {epoch}, step {step} (places {shown}{more}). "
            f"{way_back} with a lower learning rate, gradient clipping or fp32, or without these places."
        )
