"""Data sets in which query i and reference i are a pair: checking that both files are there, then the Split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError
from .base import Split
from .images import CoordinateKind, ImageFiles
from .registry import title

_absent: ContextVar[dict[Path, None] | None] = ContextVar("files that were looked for and not found", default=None)


@contextmanager
def collect_absent() -> Iterator[dict[Path, None]]:
    """Collects, in order, the files that loaders look for in the block and do not find, even where they then fail."""
    absent: dict[Path, None] = {}
    token = _absent.set(absent)
    try:
        yield absent
    finally:
        _absent.reset(token)


class DirectoryCache:
    """Which files a folder tree holds, from one listing a folder: asking for each of 185,604 files takes minutes."""

    def __init__(self, root: Path):
        self._root = root
        self._names: dict[str, frozenset[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            self._names[folder] = self._list(folder)
        return name in self._names[folder]

    def _list(self, folder: str) -> frozenset[str]:
        try:
            with os.scandir(self._root / folder) as entries:
                return frozenset(entry.name for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return frozenset()

    def holds(self, paths: Sequence[str]) -> np.ndarray:
        """Which of the paths are there, bool `[P]`."""
        present = np.fromiter((path in self for path in paths), bool, len(paths))
        self._note(paths[int(i)] for i in np.flatnonzero(~present))
        return present

    def first(self, candidates: Sequence[str]) -> tuple[str, bool]:
        """The first candidate that is there, and whether one is; the first of all where none is."""
        found = next((path for path in candidates if path in self), None)
        if found is not None:
            return found, True
        self._note(candidates[:1])
        return candidates[0], False

    def _note(self, paths: Iterable[str]) -> None:
        absent = _absent.get()
        if absent is not None:
            absent.update((self._root / path, None) for path in paths)


@dataclass(frozen=True)
class Role:
    """The files of one role, in the order of the pairs.

    Args:
        noun: what one of them is called in messages.
        paths: relative to the data set's folder.
        present: whether each is on disk, bool `[P]`.
        rows: the part of the height that is kept.
        coordinates: float64 `[P, 2]` or None.
    """

    noun: str
    paths: Sequence[str]
    present: np.ndarray
    rows: tuple[float, float] = (0.0, 1.0)
    coordinates: np.ndarray | None = None

    def missing(self) -> str:
        """How many are missing, in words."""
        count = int((~self.present).sum())
        return f"{count:,} {self.noun}{'' if count == 1 else 's'}"

    def images(self, root: Path, ids: Sequence[str], kept: np.ndarray, kind: CoordinateKind | None) -> ImageFiles:
        """The images of the rows in `kept`."""
        coordinates = None if self.coordinates is None else self.coordinates[kept]
        paths = [self.paths[i] for i in kept]
        kind = None if coordinates is None else kind
        return ImageFiles(root, paths, [ids[i] for i in kept], self.rows, coordinates, kind)


def aligned_index(
    name: str,
    split: str,
    root: Path,
    ids: Sequence[str],
    queries: Role,
    references: Role,
    places: np.ndarray,
    kind: CoordinateKind | None = None,
    allow_partial: bool = False,
    notes: tuple[str, ...] = (),
    **facts: Any,
) -> Split:
    """The Split of pairs that share a row, an id and a place.

    Args:
        name: the data set.
        split: "train" or "test".
        root: its folder.
        ids: one name a pair.
        queries: the panoramas.
        references: the aerials.
        places: place label of every pair, int64 `[P]`.
        kind: what the roles' coordinates are.
        allow_partial: leave out pairs that are not complete on disk, and note it, where it would be an error.
        notes: what is already to be told.
        facts: layout, provenance and what else Split takes.

    Raises:
        DatasetNotFoundError: pairs are missing on disk.
        DatasetCorruptError: the lists name no pair.
    """
    if not len(ids):
        raise DatasetCorruptError(f"The lists of {title(name)} {split} in {root} name no pair; copy them again.")
    kept = np.flatnonzero(queries.present & references.present)
    if len(kept) < len(ids):
        told = _tell_missing(f"{title(name)} {split}", root, queries, references, len(kept))
        if not allow_partial or not len(kept):
            raise DatasetNotFoundError(
                f"{told} Extract or copy the rest, or add --allow-partial to go on with the complete pairs."
            )
        notes = (*notes, told)
    rows = np.arange(len(kept))
    return Split(
        name=name,
        split=split,
        queries=queries.images(root, ids, kept, kind),
        references=references.images(root, ids, kept, kind),
        pairs=np.stack([rows, rows], axis=1),
        query_places=places[kept],
        reference_places=places[kept],
        truth=Truth.from_labels(places[kept], places[kept]),
        notes=notes,
        total_pairs=len(ids),
        **facts,
    )


def _tell_missing(what: str, root: Path, queries: Role, references: Role, complete: int) -> str:
    first = next(role.paths[int(np.argmin(role.present))] for role in (references, queries) if not role.present.all())
    return (
        f"{what}: {complete:,} of {len(queries.present):,} pairs are complete under {root}; "
        f"{references.missing()} and {queries.missing()} are missing, the first is {first}."
    )
