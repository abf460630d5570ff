"""CVUSA, the CVPR subset: panoramas and aerials of places all over the United States.

Workman, Souvenir, Jacobs: Wide-Area Image Geolocalization with Aerial Reference Imagery, ICCV 2015; the subset of
Zhai, Bessinger, Workman, Jacobs: Predicting Ground-Level Scene Layout from Aerial Imagery, CVPR 2017.

Its standard number hides that 377 of the 8,884 test panoramas are in the training list, and 43 are listed twice: the
test split has subsets without these.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetNotFoundError
from .base import Split, Subset
from .cvusa_lists import LISTS, LOCATIONS_FROM, PlaceMap, are_numbers, first_of_each, label_ids, split_list
from .find_root import data_root, find_folder
from .images import CoordinateKind
from .paired import paired_split
from .registry import DatasetFacts, register_dataset
from .role_files import DirectoryCache, RoleFiles

FACTS = DatasetFacts(
    title="CVUSA",
    pairs=(35_532, 8_884),
    other_pairs={
        ("train", 34_769): "the authors' cleaned list, without the later copies of 763 repeated places",
        ("train", 34_770): "the cleaned list with the one place that the authors' list lost by a slip",
        ("test", 8_841): "the authors' cleaned list, without the later copies of 43 repeated places",
    },
    ground=(224, 1232),
    elevations=(36.0, -29.5),  # a sphere of 1232 columns has 616 rows; of these, 224 around the horizon were kept
    aerial=(750, 750),
    paper="Workman et al., ICCV 2015; subset of Zhai et al., CVPR 2017",
    page="the MVRL request form at https://mvrl.cse.wustl.edu/datasets/cvusa/ ('CVPR subset')",
    areas=("USA", "USA"),
)
_FOLDERS = frozenset({"dataset", "cvpr_subset"})


@register_dataset("cvusa", FACTS)
@register_dataset("cvusa-cleaned", replace(FACTS, title="CVUSA cleaned", pairs=(34_769, 8_841)))
def load_cvusa(name: str, split: str, root: str | os.PathLike[str] | None = None, allow_partial: bool = False) -> Split:
    """Read the lists of CVUSA; the truth is by place, because CVUSA holds 1,187 places twice.

    Args:
        name: "cvusa", or "cvusa-cleaned" for the lists of the GeoDTR authors, which hold a place once a split.
        split: "train", or "test" for the list called val.
        root: its folder or one near it; without it, GEODTR_DATA.
        allow_partial: leave out pairs that are not complete on disk.

    Raises:
        DatasetNotFoundError: the folder, a list or an image is not there.
        DatasetCorruptError: a list cannot be used.
    """
    cleaned = name == "cvusa-cleaned"
    folder = _find(name, split, cleaned, root)
    place_map = PlaceMap.of(folder)
    lists = split_list(folder, split, cleaned, place_map)
    ids = lists.ids
    if not are_numbers(ids):
        place_map = None
    at_aerials, at_panoramas = (None, None) if place_map is None else place_map.coordinates(ids)
    source = "unknown" if place_map is None else f"from {place_map.path.relative_to(folder)}"
    files = DirectoryCache(folder)
    kind: CoordinateKind | None = None if place_map is None else "latlon"
    queries, references = (
        RoleFiles.find(files, noun, paths, ["{}"], ids=ids, coordinates=at, coordinate_kind=kind)
        for noun, paths, at in (("panoramas", lists.panoramas, at_panoramas), ("aerials", lists.aerials, at_aerials))
    )
    whole = paired_split(
        name,
        split,
        folder,
        queries,
        references,
        places=label_ids(ids) if place_map is None else place_map.places(ids),
        allow_partial=allow_partial,
        layout=f"CVPR subset in {folder}, list {lists.path.relative_to(folder)}, coordinates {source}",
        provenance=lists.provenance,
        notes=lists.notes,
    )
    return whole if split == "train" else _with_subsets(whole, folder, cleaned, place_map)


def _find(name: str, split: str, cleaned: bool, root: str | os.PathLike[str] | None) -> Path:
    list_needed = ("splits", "splits_cleaned", "cleaned") if cleaned else (LISTS[split],)
    remedy = (
        f"The list {LISTS[split]} ({FACTS.released_pairs(split):,} rows) is in the split archive of the CVPR subset, "
        "next to the archive of the images."
    )
    needs = [("bingmap/19",), ("streetview/panos",), list_needed]
    return find_folder(name, data_root(name, root), _FOLDERS, needs, remedy)


def _with_subsets(test: Split, folder: Path, cleaned: bool, place_map: PlaceMap | None) -> Split:
    """Return a test split with subsets without leaks, or with notes on why there are none."""
    if place_map is None:
        note = f"without all.csv and numbered ids nobody can tell what training has seen. {LOCATIONS_FROM}"
        return replace(test, notes=(*test.notes, note))
    subset, notes = _not_in_training(test, folder, cleaned, place_map)
    if not cleaned and test.provenance != "cleaned":
        subset = (*subset, _without_later_copies(test))
    return replace(test, subsets=subset, notes=test.notes + notes)


def _not_in_training(
    test: Split, folder: Path, cleaned: bool, place_map: PlaceMap
) -> tuple[tuple[Subset, ...], tuple[str, ...]]:
    """Return the subset of the places that the training list does not show, or a note on why there is none."""
    if not cleaned and not (folder / LISTS["train"]).is_file():
        return (), (f"without {LISTS['train']} nobody can tell which test places training has seen",)
    try:
        trained = split_list(folder, "train", cleaned, place_map).ids
    except DatasetNotFoundError:
        return (), ("without the cleaned training list nobody can tell which test places training has seen",)
    if not are_numbers(trained):
        return (), ("the training list has names in place of ids, so nobody can tell which test places it shares",)
    rows = np.flatnonzero(~np.isin(test.query_places, place_map.places(trained)))
    if not len(rows):
        return (), ("every test place is in the training list too",)
    what = (
        f"{len(rows):,} of {len(test.queries):,} queries, those whose place is not in the training list (under "
        "whatever id), against the whole gallery: what the model finds without having seen it."
    )
    leak = "a place of the training list, under whatever id"
    return (Subset("not_in_training", what, rows, leak=leak),), ()


def _without_later_copies(test: Split) -> Subset:
    rows = first_of_each(test.query_places)
    what = (
        f"{len(rows):,} of {len(test.queries):,} pairs, queries and references: the cleaned list of the GeoDTR "
        "authors, in which later copies of a place within the test list are dropped."
    )
    return Subset("cleaned", what, rows, rows, leak="a place that an earlier pair of the test list shows")
