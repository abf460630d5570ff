"""Data sets in which query i and reference i are a pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError
from .base import Split
from .registry import title_of
from .role_files import RoleFiles, missing_notes


def paired_split(
    name: str,
    split: str,
    folder: Path,
    queries: RoleFiles,
    references: RoleFiles,
    places: np.ndarray,
    *,
    allow_partial: bool = False,
    notes: tuple[str, ...] = (),
    **fields: Any,
) -> Split:
    """Return the split of pairs that share a row and a place.

    Args:
        name: the data set.
        split: "train" or "test".
        folder: its folder.
        queries: the panoramas.
        references: the aerials.
        places: place label of every pair, int64 `[P]`.
        allow_partial: leave out pairs that are not complete on disk, and note it, where it would be an error.
        notes: what is known already.
        fields: layout, provenance and other fields of `Split`.

    Raises:
        MissingFilesError: files are missing on disk.
        DatasetCorruptError: the lists name no pair.
    """
    what = f"{title_of(name)} {split}"
    if not len(queries):
        raise DatasetCorruptError(f"The lists of {what} in {folder} name no pair.", "Copy them again.")
    kept = np.flatnonzero(queries.present & references.present)
    allowed = allow_partial and len(kept) > 0
    missing = missing_notes(what, folder, queries, references, allowed, len(kept))
    rows = np.arange(len(kept))
    return Split(
        name=name,
        split=split,
        queries=queries.images.take(kept),
        references=references.images.take(kept),
        pairs=np.stack([rows, rows], axis=1),
        query_places=places[kept],
        reference_places=places[kept],
        truth=Truth.from_labels(places[kept], places[kept]),
        notes=(*notes, *missing),
        total_pairs=len(queries),
        **fields,
    )
