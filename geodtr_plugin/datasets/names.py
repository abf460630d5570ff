"""A list of strings in one array: nothing to count references of, so that loader workers share its memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class Names(Sequence[str]):
    """An immutable sequence of strings, packed as UTF-8.

    92,802 paths take 7 MB here and 12 MB as Python strings. More important, a Python string is written to whenever a
    worker looks at it (its reference count), which copies the memory that a fork would have shared.
    """

    def __init__(self, names: Iterable[str]):
        encoded = [name.encode() for name in names]
        self._text = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[j] for j in range(len(self))[i]]
        i = range(len(self))[i]
        return self._text[self._ends[i] : self._ends[i + 1]].tobytes().decode()
