"""Lists of different lengths in two flat arrays, so that 92,802 of them cost two allocations and no Python objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ragged:
    """Row `i` is `values[offsets[i]:offsets[i + 1]]`.

    Args:
        values: int64 `[T]`, all rows after one another.
        offsets: int64 `[N + 1]`, from 0 to T, never falling.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", as_int64(self.values))
        object.__setattr__(self, "offsets", as_int64(self.offsets))
        ends_fit = len(self.offsets) and self.offsets[0] == 0 and self.offsets[-1] == len(self.values)
        if not ends_fit or (np.diff(self.offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to the number of values, {len(self.values)}")

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> Ragged:
        """Pack a sequence of integer sequences."""
        rows = [as_int64(row) for row in lists]
        return cls.from_counts(np.concatenate([np.empty(0, np.int64), *rows]), [len(row) for row in rows])

    @classmethod
    def from_counts(cls, values: np.ndarray, counts: Sequence[int] | np.ndarray) -> Ragged:
        """Pack flat values `[T]` by the lengths of their rows `[N]`."""
        return cls(values, np.concatenate([[0], np.cumsum(as_int64(counts))]))

    @classmethod
    def joined(cls, parts: Sequence[Ragged]) -> Ragged:
        """Return rows that hold the values of the same rows of all parts."""
        rows = np.concatenate([part.rows() for part in parts])
        values = np.concatenate([part.values for part in parts])
        counts = np.bincount(rows, minlength=len(parts[0]))
        return cls.from_counts(values[np.argsort(rows, kind="stable")], counts)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        i = range(len(self))[i]
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def counts(self) -> np.ndarray:
        """Length of every row, int64 `[N]`."""
        return np.diff(self.offsets)

    def rows(self) -> np.ndarray:
        """Row number of every value, int64 `[T]`."""
        return np.repeat(np.arange(len(self)), self.counts())

    def take(self, rows: Sequence[int] | np.ndarray | slice) -> Ragged:
        """Return some rows (indices `[n]`, a mask `[N]` or a slice), in that order."""
        picked = np.arange(len(self))[rows]
        counts = self.counts()[picked]
        return Ragged.from_counts(self.values[_spans(self.offsets[picked], counts)], counts)

    def renumbered(self, new_numbers: np.ndarray) -> Ragged:
        """Replace every value v by `new_numbers[v]`, `[V]`; values whose new number is negative are left out."""
        values = as_int64(new_numbers)[self.values]
        kept = values >= 0
        return Ragged.from_counts(values[kept], np.bincount(self.rows()[kept], minlength=len(self)))


def as_int64(values: object) -> np.ndarray:
    """Return integers (a sequence, an array or a tensor) as an int64 array of their shape `[...]`.

    Raises:
        TypeError: the values are no integers. A float32 label above 2^24 would already stand for its neighbour.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"labels and indices must be integers, not {array.dtype}")
    return array.astype(np.int64, copy=False)


def group(labels: np.ndarray, wanted: np.ndarray) -> Ragged:
    """Return, for every wanted label `[N]`, the rows of `labels` `[M]` that carry it, in rising order."""
    order = np.argsort(labels, kind="stable")
    sorted_labels = labels[order]
    starts = np.searchsorted(sorted_labels, wanted, side="left")
    counts = np.searchsorted(sorted_labels, wanted, side="right") - starts
    return Ragged.from_counts(order[_spans(starts, counts)], counts)


def _spans(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the integers of the spans `starts[i] ... starts[i] + counts[i] - 1`, one span after another."""
    first = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(starts - first, counts)
