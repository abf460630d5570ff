"""The lists of CVUSA: split lists as released or as the GeoDTR authors cleaned them, and all.csv, where places are."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError
from ..utils.paths import below
from .find_root import first_path
from .places import label_places

LISTS = {"train": "splits/train-19zl.csv", "test": "splits/val-19zl.csv"}
# md5 of the split lists. "cleaned" are those of the GeoDTR authors, without the later copies of repeated places.
PROVENANCE = {
    "214c05e9661af3dbbc411ea184f8325f": "original",  # train, 35,532 rows
    "170c9f8a30a6595767ec48b7fc4f3e9e": "original",  # val, 8,884 rows
    "e2c0d4a6fcf06467dfc236e95828fe51": "cleaned",  # train, 34,769 rows
    "0d9404924e991eb37516ffa618825af1": "cleaned",  # val, 8,841 rows
}
_DIGITS = 18  # of a number that fits into 64 bits
DERIVED = "cleaned (derived by rule)"
LOCATIONS_FROM = "all.csv comes with the CVPR subset's archive of splits, as split_locations/all.csv."
_LOCATIONS = ("split_locations/all.csv", "split_locations/split/all.csv", "all.csv")
# Where people unpack the authors' cleaned lists; bingmap and streetview hold too many files to look through.
_CLEANED_FOLDERS = ("splits*", "splits*/*", "*clean*", "*clean*/*")


@dataclass(frozen=True)
class SplitList:
    """One split: row i of aerials and panoramas is a pair.

    Args:
        path: the list.
        aerials: paths below the data set's folder.
        panoramas: paths below the data set's folder.
        provenance: "original", "cleaned", "custom", or how it was derived.
        notes: what a reader of the results must know.
    """

    path: Path
    aerials: list[str]
    panoramas: list[str]
    provenance: str
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """One name a pair: the stem of its panorama."""
        return [PurePosixPath(path).stem for path in self.panoramas]

    def without_later_copies(self, places: np.ndarray) -> SplitList:
        """Return the first pair of every place, int64 `[P]`: the rule by which the authors cleaned their lists."""
        kept = first_of_each(places).tolist()
        aerials, panoramas = ([paths[i] for i in kept] for paths in (self.aerials, self.panoramas))
        source = "" if self.provenance == "original" else f" from a {self.provenance} list"
        return replace(self, aerials=aerials, panoramas=panoramas, provenance=DERIVED + source)


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Return the rows at which a label of `[N]` occurs for the first time, rising."""
    return np.sort(np.unique(labels, return_index=True)[1])


class PlaceMap:
    """all.csv: two pairs of latitude and longitude, and a heading; row i - 1 is id i.

    Two ids are one place when their heading and one of their two positions are the same: it is the same panorama.

    Args:
        path: the file.

    Raises:
        DatasetCorruptError: it is no such table.
    """

    def __init__(self, path: Path):
        self.path = path
        self._table = _read_locations(path)
        self._labels = label_places(self._table[:, 2:5], self._table[:, [0, 1, 4]]) + 1

    @classmethod
    def of(cls, folder: Path) -> PlaceMap | None:
        """Return the map in a data set's folder; None where there is none."""
        path = first_path(folder, _LOCATIONS)
        return None if path is None else cls(folder / path)

    def places(self, ids: Sequence[str]) -> np.ndarray:
        """Return the place label of every id, int64 `[N]`: the lowest of the place's ids, the same in both splits.

        Raises:
            DatasetCorruptError: the table is too short for these ids.
        """
        return self._labels[self._rows(ids)]

    def coordinates(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return latitude and longitude, `[N, 2]` each, of the aerials and of the panoramas.

        Raises:
            DatasetCorruptError: the table is too short for these ids.
        """
        rows = self._table[self._rows(ids)]
        return rows[:, :2], rows[:, 2:4]

    def _rows(self, ids: Sequence[str]) -> np.ndarray:
        numbers = label_ids(ids)
        if len(numbers) and (numbers.min() < 1 or numbers.max() > len(self._table)):
            raise DatasetCorruptError(
                f"{self.path} has {len(self._table):,} rows, one an id, but the split list names id {numbers.max()}.",
                "Copy it again or remove it.",
            )
        return numbers - 1


def are_numbers(ids: Sequence[str]) -> bool:
    """Tell whether all ids are numbers, as the released ones are; about other names all.csv says nothing."""
    return all(name.isdecimal() and len(name) <= _DIGITS for name in ids)


def label_ids(ids: Sequence[str]) -> np.ndarray:
    """Return the ids as place labels, int64 `[N]`; names are numbered in the order of the list."""
    if are_numbers(ids):
        return np.array([int(name) for name in ids], np.int64)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return np.array([numbers[name] for name in ids], np.int64)


def split_list(folder: Path, split: str, cleaned: bool, place_map: PlaceMap | None) -> SplitList:
    """Return the list of a split.

    Args:
        folder: the data set's folder.
        split: "train" or "test".
        cleaned: the authors' cleaned list; where it is not on disk, it is derived from the original one and all.csv.
        place_map: all.csv, if it is there.

    Raises:
        DatasetNotFoundError: a cleaned list is neither there nor can it be derived.
        DatasetCorruptError: a list cannot be used.
    """
    if not cleaned:
        return read_list(folder / LISTS[split])
    on_disk = _find_cleaned(folder, split)
    if on_disk is not None:
        return on_disk
    original = folder / LISTS[split]
    if place_map is None or not original.is_file():
        raise DatasetNotFoundError(
            f"The cleaned list of CVUSA {split} is not in {folder}.",
            f"Put the authors' list into {folder / 'splits/cleaned' / original.name}, or have it made by rule from "
            f"{original} and {folder / 'split_locations/all.csv'}. {LOCATIONS_FROM}",
        )
    derived = read_list(original)
    derived = derived.without_later_copies(place_map.places(derived.ids))
    if derived.provenance == DERIVED and split == "train":
        slip = "the rule keeps one pair that the authors' list of 34,769 has lost: it lacks both copies of 0025234"
        derived = replace(derived, notes=(slip,))
    return derived


def _find_cleaned(folder: Path, split: str) -> SplitList | None:
    """Return the list with the content of the cleaned one, else the first that lies under a name with "clean" in it."""
    named = None
    for path in sorted({path for pattern in _CLEANED_FOLDERS for path in folder.glob(f"{pattern}/*.csv")}):
        if not path.name.lower().startswith("train" if split == "train" else "val"):
            continue
        candidate = read_list(path)
        if candidate.provenance == "cleaned":
            return candidate
        if named is None and "clean" in str(path.relative_to(folder)).lower():
            named = candidate
    return named


def read_list(path: Path) -> SplitList:
    """Read the rows (aerial, panorama, annotation) of a list, and recognise the known lists by their content.

    Raises:
        DatasetCorruptError: a line does not name two images.
    """
    data = path.read_bytes()
    rows = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        cells = [cell.strip().replace("\\", "/").removeprefix("./") for cell in line.split(",")]
        if not any(cells):
            continue
        cells[:2] = [below(cell, f"Line {number} of {path}") for cell in cells[:2]]
        if len(cells) < 2 or not all(cells[:2]):
            raise DatasetCorruptError(
                f"Line {number} of {path} is {line.strip()!r}, but every line must name an aerial and a panorama, "
                "separated by a comma.",
                "Copy the list again.",
            )
        rows.append(cells)
    as_released = "".join(",".join(cells) + "\n" for cells in rows).encode()
    known = (PROVENANCE.get(hashlib.md5(text, usedforsecurity=False).hexdigest()) for text in (data, as_released))
    provenance = next(filter(None, known), "custom")
    return SplitList(path, [row[0] for row in rows], [row[1] for row in rows], provenance)


def _read_locations(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an empty file, which is refused here
            table = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
    except ValueError as error:
        raise DatasetCorruptError(f"{path} is no table of numbers ({error}).", "Copy it again or remove it.") from error
    if table.shape[1] != 5:
        raise DatasetCorruptError(f"{path} has {table.shape[1]} columns in place of 5.", "Copy it again or remove it.")
    return table
