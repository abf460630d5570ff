"""The photos of one role of a place recognition set: where they lie, where they were taken, which are missing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetNotFoundError
from .aligned import DirectoryCache
from .images import ImageFiles
from .locate import how_to_get
from .registry import title

# From this part of the released photos on, a folder is a copy that lost some, and no selection of somebody's.
_NEARLY_ALL = 0.9


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos of one role.

    Args:
        paths: relative to the data set's folder.
        at: metres east and north, float64 `[N, 2]`.
        present: whether each is on disk, bool `[N]`.
        views: a name of the direction within its panorama, one a photo; empty where none is known.
        panoramas: the panorama that each was cut from, one a photo; empty where that is not known.
    """

    paths: Sequence[str]
    at: np.ndarray
    present: np.ndarray
    views: Sequence[str] = ()
    panoramas: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: np.ndarray) -> Photos:
        """Some of them."""
        names = ([part[i] for i in rows] if len(part) else () for part in (self.views, self.panoramas))
        return replace(
            self, **dict(zip(("views", "panoramas"), names)), paths=[self.paths[i] for i in rows], at=self.at[rows],
            present=self.present[rows],
        )  # fmt: skip

    def files(self, folder: Path) -> ImageFiles:
        """The images."""
        return ImageFiles(folder, self.paths, coordinates=self.at, coordinate_kind="metres")


def listed_photos(
    files: DirectoryCache,
    homes: Sequence[str],
    names: Sequence[str],
    at: np.ndarray,
    views: Sequence[str] = (),
    panoramas: Sequence[str] = (),
    extensions: Sequence[str] = (),
) -> Photos:
    """The photos that a list names, each in the first of some folders that holds it.

    Args:
        files: of the data set's folder.
        homes: patterns of paths, in which {} is the name in the list.
        names: names in the list.
        at: metres east and north, `[N, 2]`.
        views: see Photos.
        panoramas: see Photos.
        extensions: in place of the listed one, the best first; by default the listed one.
    """

    def candidates(home: str, name: str) -> list[str]:
        stem, listed = os.path.splitext(name)
        return [home.format(stem + end) for end in extensions or (listed,)]

    def used(home: str) -> bool:
        return any(path in files for name in names[:: len(names) // 8 + 1] for path in candidates(home, name))

    # what is nowhere is told as missing from the first home, which must be one that is used
    homes = sorted(homes, key=lambda home: not used(home))
    found = [files.first([path for home in homes for path in candidates(home, name)]) for name in names]
    paths, present = zip(*found)
    return Photos(paths, at, np.array(present), views, panoramas)


def tell_missing(what: str, folder: Path, queries: Photos, references: Photos) -> str:
    """A sentence about photos that are not on disk; empty where all are."""
    lost = [(part, int((~part.present).sum())) for part in (queries, references)]
    if not any(count for _, count in lost):
        return ""
    first = next(part.paths[int(np.argmin(part.present))] for part, count in lost if count)
    counts = " and ".join(
        f"{count:,} of {len(part):,} {role}" for (part, count), role in zip(lost, ("queries", "references"))
    )
    return f"{what} in {folder} is not complete: {counts} are missing, the first is {first}."


def check_released(
    name: str, part: str, folder: Path, queries: Photos, references: Photos, released: Sequence[tuple[int, int]],
    allow_partial: bool,
) -> tuple[str, tuple[str, ...]]:  # fmt: skip
    """Whether photos that no list names are all there: by their number, which is all that there is.

    Args:
        name: the data set.
        part: what is counted, "test" say.
        folder: its folder.
        queries: those found.
        references: those found.
        released: the known (queries, references) of the part.
        allow_partial: note a loss in place of raising.

    Returns:
        The provenance, and notes.

    Raises:
        DatasetNotFoundError: a small part is missing, so that this is no selection of somebody's.
    """
    found = len(queries), len(references)
    if found in released:
        return "original", ()
    known = " or ".join(f"{asked:,} queries and {gallery:,} references" for asked, gallery in released)
    told = f"{title(name)} {part} in {folder} has {found[0]:,} queries and {found[1]:,} references, released were"
    told = f"{told} {known}"
    a_few_lost = any(all(_NEARLY_ALL * n <= have <= n for have, n in zip(found, counts)) for counts in released)
    if a_few_lost and not allow_partial:
        raise DatasetNotFoundError(
            f"{told}. Extract or format it again, or add --allow-partial to go on. {how_to_get(name)}"
        )
    return "custom", (told,)
