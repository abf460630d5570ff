"""Optimizers and schedules by the names that recipes give them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..utils.errors import UserError
from .asam import ASAM
from .schedules import SCHEDULES

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def build_optimizer(
    name: str, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float, eps: float, momentum: float,
    sharpness: float = 0.0, fused: bool = False,
) -> Optimizer:  # fmt: skip
    """Build an optimizer of the parameters that have a gradient, in ASAM's two passes where there is a sharpness.

    Args:
        name: one of OPTIMIZERS.
        parameters: all of the model and of its losses.
        lr, weight_decay: as torch takes them.
        eps: of adamw and adam.
        momentum: of sgd.
        sharpness: rho of ASAM; 0 is without.
        fused: torch's fused step, for GPUs.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    own = {"momentum": momentum} if name == "sgd" else {"eps": eps}
    optimizer = OPTIMIZERS[name](trained, lr=lr, weight_decay=weight_decay, fused=fused and not sharpness, **own)
    return ASAM(optimizer, sharpness) if sharpness else optimizer


def build_schedule(
    name: str, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, by: str, warmup_epochs: float,
    zero_first_epoch: bool = False,
) -> dict[str, LRScheduler]:  # fmt: skip
    """Build a schedule, under the key that makes PML's trainers step it once an epoch, or once a step.

    Args:
        name: one of SCHEDULES.
        optimizer: its learning rates are the peak.
        epochs, steps_per_epoch: of the training.
        by: "epoch" or "step".
        warmup_epochs: epochs until the peak.
        zero_first_epoch: see `schedules.warmup_cosine`.

    Raises:
        UserError: the schedule counts epochs and is asked to change with every step.
    """
    if name == "halving" and by == "step":
        raise UserError("The schedule 'halving' counts epochs.", "Choose --optim.schedule_step epoch.")
    build = SCHEDULES[name]
    if by == "epoch":
        return {"trunk_scheduler_by_epoch": build(optimizer, epochs, warmup_epochs, zero_first_epoch)}
    warmup = round(warmup_epochs * steps_per_epoch)
    return {"trunk_scheduler_by_iteration": build(optimizer, epochs * steps_per_epoch, warmup, zero_first_epoch)}
