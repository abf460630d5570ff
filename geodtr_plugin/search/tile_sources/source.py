"""The contract of a source of tiles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import numpy as np

from .mercator import latitude_of, to_plane

# uint8 [side, side, 3], or 4 with alpha where some of it shows nothing; None where all of it does
Block: TypeAlias = "np.ndarray | None"


class TileSource(ABC):
    """A picture of the ground as blocks of Web Mercator at one zoom, numbered as XYZ tiles are.

    Attributes:
        zoom: there are 2^zoom columns of blocks around the Earth, counted from 180 degrees west, and rows from north.
        side: pixels along a block.
        notes: sentences that a user must read.
    """

    zoom: int
    side: int
    notes: tuple[str, ...] = ()

    @abstractmethod
    def blocks(self) -> np.ndarray:
        """Return the blocks that may show something, int64 `[N, 2]`, column and row, none twice."""

    @abstractmethod
    def read(self, column: int, row: int) -> Block:
        """Return a block, with alpha 0 where the picture shows nothing; None where it shows nothing at all.

        Raises:
            BadImageError: what should be there is damaged; its text follows "lies on".
        """

    @abstractmethod
    def state(self) -> Any:
        """Return what changes when the picture does, as plain values."""

    def holds(self, places: np.ndarray) -> np.ndarray:
        """Tell which latitudes and longitudes in degrees, `[N, 2]`, the picture may show, bool `[N]`."""
        return np.isin(self._number(self.block_of(places)), self._number(self.blocks()))

    def widest(self) -> float:
        """Return metres along a row of blocks up to which the next row finds in memory what both are made of."""
        return float("inf")

    def block_of(self, places: np.ndarray) -> np.ndarray:
        """Return the blocks that places in degrees lie in, `[N, 2]` -> int64 `[N, 2]`, column and row."""
        column, row = np.floor(to_plane(places) * 2**self.zoom).astype(np.int64).T
        return np.stack([column % 2**self.zoom, row], axis=1)

    def boxes(self) -> np.ndarray:
        """Return what the blocks cover, float64 `[M, 4]`: south, west, north and east in degrees, of runs of blocks."""
        numbers = np.sort(self._number(self.blocks()))
        start = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)
        end = np.append(start[1:], len(numbers)) - 1
        row, first = np.divmod(numbers[start], 2 ** (self.zoom + 1))
        last, size = numbers[end] % 2 ** (self.zoom + 1), 2.0**self.zoom
        south, north = latitude_of((row + 1) / size), latitude_of(row / size)
        return np.stack([south, 360 * first / size - 180, north, 360 * (last + 1) / size - 180], axis=1)

    def _number(self, blocks: np.ndarray) -> np.ndarray:
        """Return one number for each block; those of neighbours in a row follow each other, and rows never touch."""
        return blocks[:, 1] * 2 ** (self.zoom + 1) + blocks[:, 0]
