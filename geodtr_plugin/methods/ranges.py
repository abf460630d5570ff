"""Ranges of the numbers among a recipe's settings; without torch, as all that the command line shows."""

from __future__ import annotations

from ..utils.errors import UserError

MOST = 1e300  # of a number without an upper bound of its own: infinity is none
MOST_COUNT = 2**62
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
            bounds = f"{low:g} or more" if high in (MOST, MOST_COUNT) else f"{low:g} to {high:g}"
            raise UserError(f"{option}{name} is {value}.", f"It must be {bounds}.")
