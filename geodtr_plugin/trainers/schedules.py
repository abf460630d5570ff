"""Learning rate schedules."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(
    optimizer: Optimizer,
    epochs: int,
    warmup_epochs: int = 5,
    zero_first_epoch: bool = False,
) -> LambdaLR:
    """Linear warm-up, then half a cosine down to zero.

    The recipe of GeoDTR+ (Zhang et al., TPAMI 2024, implementation details), stepped once an epoch
    (`trunk_scheduler_by_epoch`). With steps in place of epochs it is stepped once a step (`..._by_iteration`).

    Args:
        optimizer: its learning rates are the peak of the schedule.
        epochs: epochs, or steps, of the whole training.
        warmup_epochs: epochs, or steps, until the peak; 0 starts at the peak.
        zero_first_epoch: count the warm-up from 0, as the authors' code does, which spends the first epoch
            without learning; by default it counts from `1 / warmup_epochs`. The cosine is the same either way.

    Returns:
        The scheduler.

    Raises:
        ValueError: if `epochs` is below 1 or `warmup_epochs` below 0.
    """
    if epochs < 1 or warmup_epochs < 0:
        raise ValueError(f"A schedule needs epochs >= 1 and warmup_epochs >= 0, not {epochs} and {warmup_epochs}.")
    first = 0 if zero_first_epoch else 1
    descent = max(1, epochs - warmup_epochs)  # a run shorter than its warm-up never gets there

    def factor(epoch: int) -> float:
        if epoch < warmup_epochs:
            return (epoch + first) / warmup_epochs
        progress = min(1.0, (epoch - warmup_epochs) / descent)  # a cosine that went on would rise again
        return 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def warmup_constant(
    optimizer: Optimizer, epochs: int, warmup_epochs: int = 0, zero_first_epoch: bool = False
) -> LambdaLR:
    """Linear warm-up, then the peak for good. Arguments as in `warmup_cosine`; `epochs` changes nothing."""
    first = 0 if zero_first_epoch else 1
    return LambdaLR(optimizer, lambda epoch: (epoch + first) / warmup_epochs if epoch < warmup_epochs else 1.0)


def warmup_halving(
    optimizer: Optimizer, epochs: int, warmup_epochs: int = 0, zero_first_epoch: bool = False, every: int = 5
) -> LambdaLR:
    """Linear warm-up, then half the rate after each `every` epochs (NetVLAD's). See `warmup_cosine`."""
    first = 0 if zero_first_epoch else 1

    def factor(epoch: int) -> float:
        return (epoch + first) / warmup_epochs if epoch < warmup_epochs else 0.5 ** ((epoch - warmup_epochs) // every)

    return LambdaLR(optimizer, factor)


SCHEDULES = {"cosine": warmup_cosine, "constant": warmup_constant, "halving": warmup_halving}
