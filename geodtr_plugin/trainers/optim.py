"""Optimizers and learning rate schedules by the names that recipes give them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..utils.errors import UserError
from .asam import ASAM

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
ADAM_BETA2 = 0.999  # share of the running mean of squared gradients that stays, torch's own default
HALVED_EVERY = 5  # epochs of "halving", as NetVLAD's authors do


def build_optimizer(
    name: str, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float, eps: float, momentum: float,
    sharpness: float = 0.0, fused: bool = False, scaled: Iterable[nn.Parameter] = (), scale: float = 1.0,
) -> Optimizer:  # fmt: skip
    """Build an optimizer of the parameters that have a gradient, in ASAM's two passes where there is a sharpness.

    Args:
        name: one of OPTIMIZERS.
        parameters: all of the model and of its losses.
        lr, weight_decay: as torch takes them.
        eps: of adamw and adam.
        momentum: share of the running mean of gradients that stays at a step: momentum of sgd, beta1 of adamw and adam.
        sharpness: rho of ASAM; 0 is without.
        fused: torch's fused step, for GPUs.
        scaled: parameters that learn at another rate, where they are among those: the second group.
        scale: that rate in parts of `lr`; 1 makes one group of all.
    """
    trained: list[Any] = [parameter for parameter in parameters if parameter.requires_grad]
    others = {id(parameter) for parameter in scaled if scale != 1} & set(map(id, trained))
    if others:
        own_rate = {"params": [parameter for parameter in trained if id(parameter) in others], "lr": scale * lr}
        trained = [{"params": [parameter for parameter in trained if id(parameter) not in others]}, own_rate]
    own = {"momentum": momentum} if name == "sgd" else {"eps": eps, "betas": (momentum, ADAM_BETA2)}
    optimizer = OPTIMIZERS[name](trained, lr=lr, weight_decay=weight_decay, fused=fused and not sharpness, **own)
    return ASAM(optimizer, sharpness) if sharpness else optimizer


def build_schedule(
    name: str, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int, by: str, warmup_epochs: float,
    zero_first_epoch: bool = False, decay: float = 0.1, part: str = "trunk",
) -> dict[str, LambdaLR]:  # fmt: skip
    """Build a schedule: a linear warm-up to the optimizer's learning rate, then what the name says.

    Args:
        name: one of SCHEDULES.
        optimizer: its learning rates are the peak.
        epochs, steps_per_epoch: of the training.
        by: "epoch" or "step".
        warmup_epochs: epochs until the peak; 0 starts at the peak.
        zero_first_epoch: count the warm-up from 0, as the authors of GeoDTR+ do, whose first epoch learns nothing; by
            default it counts from `1 / warmup_epochs`. What follows is the same either way.
        decay: of "exponential": what the rate has come to at the end, in parts of the peak.
        part: the name of what the optimizer steps.

    Returns:
        The scheduler, under the key that makes PML's trainers step it once an epoch, or once a step.

    Raises:
        UserError: the schedule counts epochs and is asked to change with every step.
        ValueError: there is no epoch, or a negative warm-up.
    """
    if epochs < 1 or warmup_epochs < 0:
        raise ValueError(f"A schedule needs epochs >= 1 and warmup_epochs >= 0, not {epochs} and {warmup_epochs}.")
    if name == "halving" and by == "step":
        raise UserError("The schedule 'halving' counts epochs.", "Choose --optim.schedule_step epoch.")
    per_epoch = 1 if by == "epoch" else steps_per_epoch
    warmup = warmup_epochs if by == "epoch" else round(warmup_epochs * per_epoch)
    first = 0 if zero_first_epoch else 1
    after = SCHEDULES[name](max(1, epochs * per_epoch - warmup), decay)  # a shorter run never gets there
    scheduler = LambdaLR(optimizer, lambda now: (now + first) / warmup if now < warmup else after(now - warmup))
    return {f"{part}_scheduler_by_{'epoch' if by == 'epoch' else 'iteration'}": scheduler}


def follow_schedule(trainer: Any) -> tuple[float, float] | None:
    """Set learning rates to what schedules say of the step that a training state stands at.

    A schedule of another length than that of the run that wrote the state goes on elsewhere.

    Returns:
        The rate of the first group before and after; None if nothing had to change.
    """
    changed = None
    for scheduler in (trainer.lr_schedulers or {}).values():
        for group, peak, factor in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas):
            before, after = group["lr"], peak * factor(scheduler.last_epoch)
            if not math.isclose(before, after, rel_tol=1e-6, abs_tol=1e-12):
                group["lr"], changed = after, changed or (before, after)
    return changed


def _cosine(steps: float, decay: float) -> Callable[[float], float]:
    """Fall to zero along half a cosine (GeoDTR+, Zhang et al., TPAMI 2024, implementation details)."""
    return lambda done: 0.5 * (1.0 + math.cos(math.pi * min(1.0, done / steps)))  # further on it would rise again


def _constant(steps: float, decay: float) -> Callable[[float], float]:
    """Stay at the peak for good."""
    return lambda done: 1.0


def _linear(steps: float, decay: float) -> Callable[[float], float]:
    """Fall to zero along a straight line (HER, Cai et al., ICCV 2019, from the released code)."""
    return lambda done: max(0.0, 1.0 - done / steps)


def _halving(steps: float, decay: float) -> Callable[[float], float]:
    """Halve the rate after each HALVED_EVERY epochs (NetVLAD, Arandjelovic et al., CVPR 2016, section 5.1)."""
    return lambda done: 0.5 ** (done // HALVED_EVERY)


def _exponential(steps: float, decay: float) -> Callable[[float], float]:
    """Fall by one factor with every step, to `decay` at the end and further after it (VIGOR, Zhu et al., CVPR 2021)."""
    return lambda done: decay ** (done / steps)


SCHEDULES = {
    "cosine": _cosine, "linear": _linear, "constant": _constant, "halving": _halving, "exponential": _exponential,
}  # fmt: skip
