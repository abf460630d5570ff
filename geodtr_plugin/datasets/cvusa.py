"""CVUSA, the CVPR subset: panoramas and aerials of places all over the United States.

Workman, Souvenir, Jacobs: Wide-Area Image Geolocalization with Aerial Reference Imagery, ICCV 2015; the subset of
Zhai, Bessinger, Workman, Jacobs: Predicting Ground-Level Scene Layout from Aerial Imagery, CVPR 2017.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from .aligned import DirectoryCache, Role, aligned_index
from .base import Split
from .cvusa_leaks import tell_leaks
from .cvusa_lists import LISTS, split_list
from .cvusa_map import PlaceMap, are_numbers, own_places
from .locate import data_root, find_folder
from .registry import DATASETS

_FOLDERS = frozenset({"dataset", "cvpr_subset"})


def load_cvusa(
    name: str, split: str, root: str | os.PathLike[str] | None = None, allow_partial: bool = False
) -> Split:
    """Reads the lists of CVUSA; the truth is by place, because CVUSA holds 1,187 places twice.

    A test split says, as subsets of the Split, which of its queries training has not seen and which the authors'
    cleaned list keeps.

    Args:
        name: "cvusa", or "cvusa-cleaned" for the lists of the GeoDTR authors, which hold a place once a split.
        split: "train", or "test" for the list called val.
        root: its folder or one near it; without it, GEODTR_DATA.
        allow_partial: leave out pairs that are not complete on disk.
    """
    cleaned = name == "cvusa-cleaned"
    folder = _find(name, split, cleaned, root)
    on_map = PlaceMap.of(folder)
    lists = split_list(folder, split, cleaned, on_map)
    ids = lists.ids
    if not are_numbers(ids):
        on_map = None
    at_aerial, at_panorama = (None, None) if on_map is None else on_map.coordinates(ids)
    files = DirectoryCache(folder)
    found = "unknown" if on_map is None else f"from {on_map.path.relative_to(folder)}"
    index = aligned_index(
        name,
        split,
        folder,
        ids,
        queries=Role("panorama", lists.panoramas, files.holds(lists.panoramas), coordinates=at_panorama),
        references=Role("aerial", lists.aerials, files.holds(lists.aerials), coordinates=at_aerial),
        places=own_places(ids) if on_map is None else on_map.places(ids),
        kind="latlon",
        allow_partial=allow_partial,
        layout=f"CVPR subset in {folder}, list {lists.path.relative_to(folder)}, coordinates {found}",
        provenance=lists.provenance,
        notes=lists.notes,
    )
    if split == "train":
        return index
    subsets, notes = tell_leaks(index, folder, cleaned, on_map)
    return replace(index, subsets=subsets, notes=index.notes + notes)


def _find(name: str, split: str, cleaned: bool, root: str | os.PathLike[str] | None) -> Path:
    list_needed = ("splits", "splits_cleaned", "cleaned") if cleaned else (LISTS[split],)
    remedy = (
        f"The list {LISTS[split]} ({DATASETS['cvusa'].pairs[split == 'test']:,} rows) is in the split archive of the "
        "CVPR subset, next to the archive of the images."
    )
    needs = [("bingmap/19",), ("streetview/panos",), list_needed]
    return find_folder(name, data_root(name, root), _FOLDERS, needs, remedy)
