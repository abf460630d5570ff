"""Ranges of the numbers among a recipe's settings and a method's options; without torch, as all that --help shows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ..utils.errors import UserError

if TYPE_CHECKING:
    from .base import TwoTower

MOST = 1e300  # of a number without an upper bound of its own: infinity is none
MOST_COUNT = 2**62
MOST_SIZE = 2**20  # of a layer or an image: no computer holds more
SIZE = "tuple[int, int]"
KINDS = {"int": "a whole number", "float": "a number", SIZE: "height and width, two whole numbers"}  # by annotation
ABOVE_ZERO = 1e-300


def check_numbers(settings: object, option: str, **ranges: tuple[float, float]) -> None:
    """Check numbers among the fields of a settings object; None passes.

    Args:
        settings: a dataclass.
        option: what stands before a field's name on the command line, such as `--optim.`.
        ranges: lowest and highest value by field, both included.

    Raises:
        UserError: a number is outside of its range, or not a number.
    """
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            raise _outside(f"{option}{name}", value, low, high)


def check_options(method: type[TwoTower], options: Mapping[str, Any], before: str = "") -> None:
    """Check numbers and sizes among a method's options: whole numbers are 1 or more, others 0 or more.

    Args:
        method: the class, whose signature tells what the options are, and `option_ranges` numbers of other ranges.
        options: options by name.
        before: what stands before an option's name, such as `--model.`.

    Raises:
        UserError: a number is outside of its range, or not such a number.
    """
    for name, parameter in inspect.signature(method).parameters.items():
        kind = getattr(parameter.annotation, "__name__", str(parameter.annotation)).removesuffix(" | None")
        value: Any = options.get(name)
        if value is None or kind not in KINDS:
            continue
        numbers = list(value) if kind == SIZE and isinstance(value, Sequence) else [value]
        fitting = all(_is(Real if kind == "float" else Integral, number) for number in numbers)
        if not fitting or len(numbers) != 1 + (kind == SIZE):
            raise UserError(f"{before}{name} is {value!r}.", f"It must be {KINDS[kind]}.")
        low, high = method.option_ranges.get(name, (0, MOST) if kind == "float" else (1, MOST_SIZE))
        for number in numbers:
            if not low <= number <= high:
                raise _outside(f"{before}{name}", value, low, high)


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _outside(option: str, value: float, low: float, high: float) -> UserError:
    bounds = f"{low:g} or more" if high in (MOST, MOST_COUNT) else f"{low:g} to {high:g}"
    return UserError(f"{option} is {value}.", f"It must be {bounds}.")
