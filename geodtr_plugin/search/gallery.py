"""What photos are located in: references with their vectors, in an index on disk or in a vector store."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .area import Area
from .vector_index import VectorIndex

if TYPE_CHECKING:
    from ..distances import HeadingDistance

Reference = tuple[str, float | None, float | None]  # its path, latitude and longitude in degrees
Found = tuple[np.ndarray, np.ndarray]  # similarities float32 [Q, k], best first, and keys int64; -1: there are no more


class Gallery(Protocol):
    """References with their vectors; each has a number, its key.

    Attributes:
        root: the folder that the paths of references start from.
    """

    @property
    def root(self) -> Path: ...

    def __len__(self) -> int: ...

    def search(
        self, queries: np.ndarray, k: int, *, exact: bool = False, nprobe: int | None = None,
        distance: HeadingDistance | None = None, area: Area | None = None,
    ) -> Found:  # fmt: skip
        """Find the k references whose vectors are most similar to each query, float32 `[Q, D]`, in an area."""
        ...

    def reference(self, key: int) -> Reference:
        """Return a reference that a search has found; raise IndexError if it is not known."""
        ...

    def take(self, keys: np.ndarray) -> np.ndarray:
        """Return the vectors of references that a search has found, int64 `[n]`: float32 `[n, D]`."""
        ...

    def places(self, around: np.ndarray) -> np.ndarray:
        """Return where references lie, in degrees, float64 `[N, 2]`: all, or those near places `[M, 2]`."""
        ...

    def cut_of(self, path: str) -> tuple[Path, Mapping[str, Any]] | None:
        """Return from what and how the tile of this path was cut, as a manifest says it; None of a file."""
        ...


class IndexGallery:
    """The gallery in an index on disk; its keys are rows.

    Args:
        index: the references' vectors.
        references: a path, a latitude and a longitude in degrees (None where unknown) for each row.
        root: the folder that the paths start from, or the source of the tiles.
        tiles: how the references were cut from their source, as a manifest says it.

    Raises:
        ValueError: there are more or fewer references than vectors.
    """

    def __init__(
        self, index: VectorIndex, references: Sequence[Reference], root: str | os.PathLike = ".",
        tiles: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        if len(references) != len(index):
            raise ValueError(f"{len(index)} vectors came with {len(references)} references")
        self.index, self.references, self.root, self.tiles = index, list(references), Path(root), tiles
        self._places = np.array([at[1:] for at in self.references], np.float64)  # None becomes NaN

    def __len__(self) -> int:
        return len(self.index)

    def search(
        self, queries: np.ndarray, k: int, *, exact: bool = False, nprobe: int | None = None,
        distance: HeadingDistance | None = None, area: Area | None = None,
    ) -> Found:  # fmt: skip
        """Find the k most similar references of each query, see `VectorIndex.search`; all in the area are compared."""
        rows = None if area is None else np.flatnonzero(area.holds(self._places))
        return self.index.search(queries, k, exact=exact, nprobe=nprobe, distance=distance, candidates=rows)

    def reference(self, key: int) -> Reference:
        """Return the reference in a row; raise IndexError if there is no such row."""
        if not 0 <= key < len(self.references):
            raise IndexError(f"there is no reference {key} among {len(self.references)}")
        return self.references[key]

    def take(self, keys: np.ndarray) -> np.ndarray:
        """Return the vectors of some rows, int64 `[n]`: float32 `[n, D]`."""
        return self.index.take(keys)

    def places(self, around: np.ndarray) -> np.ndarray:
        """Return where all references lie whose places are known, float64 `[N, 2]`."""
        return self._places[np.isfinite(self._places[:, 0])]

    def cut_of(self, path: str) -> tuple[Path, Mapping[str, Any]] | None:
        """Return source and options of the tiles; None where the references are files."""
        return None if self.tiles is None else (self.root, self.tiles)
