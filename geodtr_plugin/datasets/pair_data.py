"""What a training pair tells besides its two images and its place, for objectives that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..utils.pair_data import OFFSET, PAIR_DATA, SEMI_POSITIVE, SEMI_POSITIVE_OFFSET

if TYPE_CHECKING:
    from .base import Split


def pair_data_of(split: Split) -> tuple[str, ...]:
    """Return which of `PAIR_DATA` a split can tell."""
    if split.offsets is None:
        return ()
    has_semi_positives = split.truth.ignored is not None and len(split.truth.ignored.values)
    return PAIR_DATA if has_semi_positives else (OFFSET,)


class PairData:
    """Tell the data of one pair after the other.

    A semi-positive (an ignored reference of the truth) is drawn from torch's global generator, which the loader seeds
    for every item, so that a resumed training draws the same ones. A query that has none gets its own reference again,
    with the same offset.

    Args:
        split: whose pairs.
        names: what is asked for, of `pair_data_of(split)`.
        load: row of a reference -> its image, uint8 `[3, h, w]`.
    """

    def __init__(self, split: Split, names: Sequence[str], load: Callable[[int], Tensor]):
        self.split, self.names, self.load = split, tuple(names), load

    def __call__(self, query: int, reference: int) -> dict[str, Any]:
        """Return the data of a pair by name."""
        other = self._semi_positive(query, reference) if set(self.names) - {OFFSET} else reference
        values: dict[str, Callable[[], Tensor]] = {
            OFFSET: lambda: self._offset(query, reference),
            SEMI_POSITIVE: lambda: self.load(other),
            SEMI_POSITIVE_OFFSET: lambda: self._offset(query, other),
        }
        return {name: values[name]() for name in self.names}

    def _semi_positive(self, query: int, reference: int) -> int:
        ignored = self.split.truth.ignored
        choices = [] if ignored is None else ignored[query]
        return int(choices[int(torch.randint(len(choices), ()))]) if len(choices) else reference

    def _offset(self, query: int, reference: int) -> Tensor:
        assert self.split.offsets is not None  # else nobody may ask
        return torch.from_numpy(self.split.offsets.of([query], [reference])[0])
