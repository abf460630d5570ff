"""CVUSA, the CVPR subset: panoramas and aerials of places all over the United States.

Workman, Souvenir, Jacobs: Wide-Area Image Geolocalization with Aerial Reference Imagery, ICCV 2015; the subset of
Zhai, Bessinger, Workman, Jacobs: Predicting Ground-Level Scene Layout from Aerial Imagery, CVPR 2017.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

import numpy as np

from ..utils.errors import DatasetCorruptError
from .aligned import Listing, Role, aligned_index
from .base import Index
from .locate import data_root, find_folder
from .places import label_places
from .registry import DATASETS

_FOLDERS = frozenset({"dataset", "cvpr_subset"})
_LISTS = {"train": "splits/train-19zl.csv", "test": "splits/val-19zl.csv"}
_LOCATIONS = ("split_locations/all.csv", "split_locations/split/all.csv", "all.csv")
# md5 of the split lists. "cleaned" are those of the GeoDTR authors, without the later copies of repeated places.
_PROVENANCE = {
    "214c05e9661af3dbbc411ea184f8325f": "original",  # train, 35,532 rows
    "170c9f8a30a6595767ec48b7fc4f3e9e": "original",  # val, 8,884 rows
    "e2c0d4a6fcf06467dfc236e95828fe51": "cleaned",  # train, 34,769 rows
    "0d9404924e991eb37516ffa618825af1": "cleaned",  # val, 8,841 rows
}


def load_cvusa(
    name: str, split: str, root: str | os.PathLike[str] | None = None, allow_partial: bool = False
) -> Index:
    """Reads the lists of CVUSA; the truth is by place, because CVUSA holds 1,187 places twice.

    Args:
        name: "cvusa".
        split: "train", or "test" for the list called val.
        root: its folder or one near it; without it, GEODTR_DATA.
        allow_partial: leave out pairs that are not complete on disk.
    """
    rows_expected = DATASETS[name].pairs[split == "test"]
    needs = [("bingmap/19",), ("streetview/panos",), (_LISTS[split],)]
    remedy = (
        f"The list {_LISTS[split]} ({rows_expected:,} rows) is in the split archive of the CVPR subset, "
        "next to the archive of the images."
    )
    folder = find_folder(name, data_root(name, root), _FOLDERS, needs, remedy)
    rows, provenance = _read_list(folder / _LISTS[split])
    aerials, panoramas = ([row[column] for row in rows] for column in (0, 1))
    ids = [PurePosixPath(path).stem for path in panoramas]
    locations = next((path for path in _LOCATIONS if (folder / path).is_file()), None)
    table = None if locations is None else _read_locations(folder / locations)
    places, near = _places(ids), None
    if table is not None and _are_numbers(ids):
        places, near = _places_on_the_map(ids, table, folder / locations)
    files = Listing(folder)
    return aligned_index(
        name,
        split,
        folder,
        ids,
        queries=Role("panorama", panoramas, files.holds(panoramas), coordinates=None if near is None else near[:, 2:4]),
        references=Role("aerial", aerials, files.holds(aerials), coordinates=None if near is None else near[:, :2]),
        places=places,
        kind="latlon",
        allow_partial=allow_partial,
        layout=f"CVPR subset in {folder}, coordinates {'unknown' if near is None else 'from ' + str(locations)}",
        provenance=provenance,
    )


def _read_list(path: Path) -> tuple[list[list[str]], str]:
    """The rows (aerial, panorama, annotation) of a split list, and where the list comes from."""
    data = path.read_bytes()
    rows = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        cells = [cell.strip().replace("\\", "/").removeprefix("./") for cell in line.split(",")]
        if not any(cells):
            continue
        if len(cells) < 2 or not all(cells[:2]):
            raise DatasetCorruptError(
                f"Line {number} of {path} is {line.strip()!r}, but every line must name an aerial and a panorama, "
                "separated by a comma; copy the list again."
            )
        rows.append(cells)
    as_released = "".join(",".join(cells) + "\n" for cells in rows).encode()
    known = (_PROVENANCE.get(hashlib.md5(text, usedforsecurity=False).hexdigest()) for text in (data, as_released))
    return rows, next(filter(None, known), "custom")


def _read_locations(path: Path) -> np.ndarray:
    """all.csv, float64 `[ids, 5]`: two pairs of latitude and longitude, and the heading; row i - 1 is id i."""
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
    except ValueError as error:
        raise DatasetCorruptError(f"{path} is no table of numbers ({error}); copy it again or remove it.") from error
    if table.shape[1] != 5:
        raise DatasetCorruptError(f"{path} has {table.shape[1]} columns in place of 5; copy it again or remove it.")
    return table


def _are_numbers(ids: list[str]) -> bool:
    return all(name.isdecimal() for name in ids)


def _places(ids: list[str]) -> np.ndarray:
    """The id as place label; where ids are no numbers, a number for each different one, in the order of the list."""
    if _are_numbers(ids):
        return np.array([int(name) for name in ids], np.int64)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return np.array([numbers[name] for name in ids], np.int64)


def _places_on_the_map(ids: list[str], table: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Place labels, and the table's rows of the ids.

    Two ids are one place when their heading and one of their two positions are the same: it is the same panorama. The
    label is the lowest of its ids, so that it is the same in both splits.
    """
    numbers = _places(ids)
    if not len(numbers):
        return numbers, table[:0]
    if numbers.min() < 1 or numbers.max() > len(table):
        raise DatasetCorruptError(
            f"{path} has {len(table):,} rows, one an id, but the split list names id {numbers.max()}; "
            "copy it again or remove it."
        )
    labels = label_places(table[:, 2:5], table[:, [0, 1, 4]]) + 1
    return labels[numbers - 1], table[numbers - 1]
