"""Arguments of a loss that change as epochs go by, such as a share of hard triplets that shrinks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..utils.errors import UserError
from ..utils.typed import check

if TYPE_CHECKING:
    from torch import nn

Steps = dict[str, list[list[float]]]  # by argument: [first epoch, counted from 0; value from there on], ...
log = logging.getLogger("geodtr_plugin")


def plain_schedule(schedule: Mapping[str, Any], name: str = "schedule") -> Steps:
    """Return a schedule as plain lists.

    Args:
        schedule: by argument of a loss `[[first epoch, value], ...]`, epochs counted from 0.
        name: what messages call it.

    Raises:
        UserError: it is something else, or epochs do not rise.
    """
    remedy = 'Write it as {"hard_ratio": [[0, 1.0], [20, 0.1]]}: from which epoch, counted from 0, which value holds.'
    try:
        check(schedule, dict[str, list[tuple[int, float]]], name)
    except ValueError as error:
        raise UserError(f"{error}.", remedy) from error
    for argument, steps in schedule.items():
        epochs = [epoch for epoch, _ in steps]
        if not epochs or epochs[0] < 0 or any(later <= earlier for earlier, later in zip(epochs, epochs[1:])):
            raise UserError(f"{name}.{argument} has epochs {epochs}, which must rise from 0 or more.", remedy)
    return {argument: [[epoch, value] for epoch, value in steps] for argument, steps in schedule.items()}


class LossSchedule:
    """Set arguments of a loss for the epoch that begins; each holds until the next one of the schedule.

    Args:
        loss: whose attributes bear the names of its arguments; before the first epoch of a schedule, they stay.
        schedule: see `plain_schedule`.

    Raises:
        UserError: that is none, or the loss has no number of that name.
    """

    def __init__(self, loss: nn.Module, schedule: Mapping[str, Any]):
        self.loss, self.steps = loss, plain_schedule(schedule)
        self.first = {name: _number(loss, name) for name in self.steps}
        self.logged: dict[str, float] = {}

    def values(self, epoch: int) -> dict[str, float]:
        """Return the arguments in an epoch, counted from 0, by name."""
        values = dict(self.first)
        for name, steps in self.steps.items():
            for begin, value in steps:
                if begin <= epoch:
                    values[name] = value
        return values

    def begin(self, epoch: int) -> None:
        """Give the loss the arguments of an epoch, counted from 0, and log those that changed."""
        for name, value in self.values(epoch).items():
            setattr(self.loss, name, value)
            if self.logged.get(name) != value:
                log.info(f"epoch {epoch + 1}: {name} of the loss is {value:g}")
            self.logged[name] = value


def check_schedule(name: str, args: Mapping[str, Any], schedule: Mapping[str, Any]) -> None:
    """Build a loss with every value of a schedule.

    Raises:
        UserError: the loss does not take an argument or a value, or does not look at it once it is built.
    """
    from .by_name import build_loss

    for argument, steps in schedule.items():
        for _, value in steps:
            wanted, changed = build_loss(name, {**args, argument: value}), build_loss(name, args)
            _number(changed, argument)
            setattr(changed, argument, value)
            if _numbers(wanted) != _numbers(changed):  # others were computed from it, and would stay
                raise UserError(f"The loss {name} reads {argument} once, when it is built.", "Leave the schedule out.")


def _number(loss: nn.Module, name: str) -> float:
    if name not in _numbers(loss):
        known = ", ".join(sorted(key for key in _numbers(loss) if not key.startswith("_") and key != "training"))
        raise UserError(f"{type(loss).__name__} has no number {name!r} to change over epochs.", f"It has: {known}.")
    return getattr(loss, name)


def _numbers(loss: nn.Module) -> dict[str, float]:
    return {name: value for name, value in vars(loss).items() if isinstance(value, int | float)}
