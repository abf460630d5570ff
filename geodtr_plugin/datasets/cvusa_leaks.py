"""What CVUSA's standard number hides: 377 of its 8,884 test panoramas are in the training list, 43 are listed twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..utils.errors import DatasetNotFoundError
from .base import Split
from .cvusa_lists import LISTS, first_of_each, split_list
from .cvusa_map import LOCATIONS_FROM, PlaceMap, are_numbers
from .subset import Subset


def tell_leaks(
    index: Split, folder: Path, cleaned: bool, on_map: PlaceMap | None
) -> tuple[tuple[Subset, ...], tuple[str, ...]]:
    """Subsets of a test split without leaks, and notes on what cannot be told.

    Args:
        index: the test split.
        folder: the data set's folder.
        cleaned: whether its lists are the cleaned ones; they leave the places that training shares with the test.
        on_map: tells which ids are one place; None where that is unknown.
    """
    if on_map is None:
        return (), (f"without all.csv and numbered ids nobody can tell what training has seen. {LOCATIONS_FROM}",)
    subset, notes = _not_in_training(index, folder, cleaned, on_map)
    if cleaned or index.provenance == "cleaned":
        return subset, notes
    return (*subset, _without_later_copies(index)), notes


def _not_in_training(
    index: Split, folder: Path, cleaned: bool, on_map: PlaceMap
) -> tuple[tuple[Subset, ...], tuple[str, ...]]:
    if not cleaned and not (folder / LISTS["train"]).is_file():
        return (), (f"without {LISTS['train']} nobody can tell which test places training has seen",)
    try:
        trained = split_list(folder, "train", cleaned, on_map).ids
    except DatasetNotFoundError:
        return (), ("without the cleaned training list nobody can tell which test places training has seen",)
    if not are_numbers(trained):
        return (), ("the training list has names in place of ids, so nobody can tell which test places it shares",)
    rows = np.flatnonzero(~np.isin(index.query_places, on_map.places(trained)))
    if not len(rows):
        return (), ("every test place is in the training list too",)
    what = (
        f"{len(rows):,} of {len(index.queries):,} queries, those whose place is not in the training list (under "
        "whatever id), against the whole gallery: what the model finds without having seen it."
    )
    return (Subset("not_in_training", what, rows),), ()


def _without_later_copies(index: Split) -> Subset:
    rows = first_of_each(index.query_places)
    what = (
        f"{len(rows):,} of {len(index.queries):,} pairs, queries and references: the cleaned list of the GeoDTR "
        "authors, in which later copies of a place within the test list are dropped."
    )
    return Subset("cleaned", what, rows, rows)
