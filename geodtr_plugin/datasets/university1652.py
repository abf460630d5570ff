"""University-1652: drone views and satellite images of the buildings of 72 universities.

Zheng, Wei, Yang: University-1652: A Multi-view Multi-source Benchmark for Drone-based Geo-localization, ACM MM 2020.
Queries are drone views and references are satellite images, or the other way round. Folders of street and web images
are not used: the release itself has empty ones among them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetNotFoundError
from .aligned import DirectoryCache
from .base import Split
from .buildings import Buildings
from .locate import data_root, find_folder
from .registry import title

_FOLDERS = frozenset({"university-release", "university-1652", "university1652", "dataset"})
# (buildings, images) of each folder of the release
RELEASED = {
    "train/drone": (701, 37_854),
    "train/satellite": (701, 701),
    "test/query_drone": (701, 37_855),
    "test/query_satellite": (701, 701),
    "test/gallery_drone": (951, 51_355),
    "test/gallery_satellite": (951, 951),
}
# From this part of the released buildings on, a folder is a copy that lost some, and no selection of somebody's.
_NEARLY_ALL = 0.9


def load_university1652(
    name: str, split: str, root: str | os.PathLike[str] | None = None, allow_partial: bool = False
) -> Split:
    """Lists the folders of University-1652; a place is a building, and every image of it in the gallery is right.

    Args:
        name: "university1652-drone-satellite" (or "university1652") or "university1652-satellite-drone".
        split: "train" for 701 buildings, "test" for 701 others and 250 that no query shows.
        root: its folder or one near it; without it, GEODTR_DATA.
        allow_partial: go on without what is missing on disk.
    """
    kinds = ("satellite", "drone") if name.endswith("satellite-drone") else ("drone", "satellite")
    parts = ("train/", "train/") if split == "train" else ("test/query_", "test/gallery_")
    query_folder, reference_folder = (part + kind for part, kind in zip(parts, kinds))
    folder = find_folder(name, data_root(name, root), _FOLDERS, [(query_folder,), (reference_folder,)])
    queries, references = (Buildings.read(folder, path) for path in (query_folder, reference_folder))
    train = split == "train"
    missing = _missing(folder, queries, references.images if train else ())
    missing_references = _missing(folder, references, queries.images)
    one_a_pair, lost = (references, missing_references) if train and kinds[1] == "drone" else (queries, missing)
    missing = missing + missing_references + _shortages(queries, references)
    shared = [building for building, images in queries.images.items() if images and references.images.get(building)]
    notes = _count(queries, references)
    if missing:
        told = (
            f"{title(name)} {split} in {folder} is not complete; missing: {missing[0]}"
            f"{f' and {len(missing) - 1:,} more' if len(missing) > 1 else ''}."
        )
        if not (allow_partial and shared):
            raise DatasetNotFoundError(f"{told} Extract it again, or add --allow-partial to go on without.")
        notes.append(told)
    index = _index(
        name,
        split,
        folder,
        queries.only(shared),
        references.only(shared) if train else references,
        layout=f"{query_folder} and {reference_folder} in {folder}",
        provenance="custom" if notes else "original",
        notes=tuple(notes),
    )
    without_partner = len(one_a_pair) - len(one_a_pair.only(shared))
    return replace(index, total_pairs=len(index.pairs) + without_partner + len(lost))


def _index(name: str, split: str, folder: Path, queries: Buildings, references: Buildings, **facts: Any) -> Split:
    truth = Truth.from_labels(queries.labels(), references.labels())
    return Split(
        name=name,
        split=split,
        queries=queries.files(folder),
        references=references.files(folder),
        pairs=_pairs(truth, queries, references, every=split == "train"),
        query_places=queries.labels(),
        reference_places=references.labels(),
        truth=truth,
        # The authors' script counts round(N / 100) + 1 references: 11 satellite images where this counts 10.
        percent_rounding="floor_plus_one",
        centred=False,
        **facts,
    )


def _pairs(truth: Truth, queries: Buildings, references: Buildings, every: bool) -> np.ndarray:
    """Every right pair, or the first of every query; first views of all buildings, then second views, and so on.

    In this order the first pairs, which a limited run keeps, are of different buildings.
    """
    rows, right = truth.positives.rows(), truth.positives.values
    if not every:
        firsts = truth.positives.offsets[:-1]
        rows, right = rows[firsts], right[firsts]
    order = np.lexsort((rows, queries.ranks()[rows] + references.ranks()[right]))
    return np.stack([rows, right], axis=1)[order]


def _missing(folder: Path, role: Buildings, others: Iterable[str]) -> list[str]:
    """The files that are not on disk, as far as the other buildings, and the other role's, show it."""
    paths = role.usual(others)
    return [path for path, there in zip(paths, DirectoryCache(folder).holds(paths)) if not there]


def _shortages(*roles: Buildings) -> list[str]:
    """The folders that have lost whole buildings, which nothing else shows."""
    counts = ((role.folder, len(role.images), RELEASED[role.folder][0]) for role in roles)
    return [
        f"{folder} ({found} of {released} buildings)"
        for folder, found, released in counts
        if not found or _NEARLY_ALL * released <= found < released
    ]


def _count(queries: Buildings, references: Buildings) -> list[str]:
    """A note for every folder that holds other numbers than the released one."""
    return [
        f"{role.folder} holds {len(role):,} images of {len(role.images):,} buildings; "
        f"released were {RELEASED[role.folder][1]:,} of {RELEASED[role.folder][0]:,}"
        for role in (queries, references)
        if (len(role.images), len(role)) != RELEASED[role.folder]
    ]
