"""The split lists of CVUSA: as released, as the GeoDTR authors cleaned them, or cleaned here by the same rule."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError
from .cvusa_map import LOCATIONS_FROM, PlaceMap

LISTS = {"train": "splits/train-19zl.csv", "test": "splits/val-19zl.csv"}
# md5 of the split lists. "cleaned" are those of the GeoDTR authors, without the later copies of repeated places.
PROVENANCE = {
    "214c05e9661af3dbbc411ea184f8325f": "original",  # train, 35,532 rows
    "170c9f8a30a6595767ec48b7fc4f3e9e": "original",  # val, 8,884 rows
    "e2c0d4a6fcf06467dfc236e95828fe51": "cleaned",  # train, 34,769 rows
    "0d9404924e991eb37516ffa618825af1": "cleaned",  # val, 8,841 rows
}
DERIVED = "cleaned (derived by rule)"
# Where people unpack the authors' cleaned lists; bingmap and streetview hold too many files to look through.
_CLEANED_FOLDERS = ("splits*", "splits*/*", "*clean*", "*clean*/*")


@dataclass(frozen=True)
class SplitList:
    """One split: row i of aerials and panoramas is a pair."""

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
        """The first pair of every place alone: the rule by which the authors cleaned their lists."""
        kept = first_of_each(places).tolist()
        aerials, panoramas = ([paths[i] for i in kept] for paths in (self.aerials, self.panoramas))
        source = "" if self.provenance == "original" else f" from a {self.provenance} list"
        return replace(self, aerials=aerials, panoramas=panoramas, provenance=DERIVED + source)


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """The rows at which a label occurs for the first time, rising."""
    return np.sort(np.unique(labels, return_index=True)[1])


def split_list(folder: Path, split: str, cleaned: bool, on_map: PlaceMap | None) -> SplitList:
    """The list of a split.

    Args:
        folder: the data set's folder.
        split: "train" or "test".
        cleaned: the authors' cleaned list; where it is not on disk, it is made from the original one and `on_map`.
        on_map: tells which ids are one place.

    Raises:
        DatasetNotFoundError: a cleaned list is neither there nor can it be made.
        DatasetCorruptError: a list cannot be used.
    """
    if not cleaned:
        return read_list(folder / LISTS[split])
    found = _find_cleaned(folder, split)
    if found is not None:
        return found
    original = folder / LISTS[split]
    if on_map is None or not original.is_file():
        raise DatasetNotFoundError(
            f"The cleaned list of CVUSA {split} is not in {folder}. Put the authors' list into "
            f"{folder / 'splits/cleaned' / original.name}, or have it made by rule from {original} and "
            f"{folder / 'split_locations/all.csv'}. {LOCATIONS_FROM}"
        )
    derived = read_list(original)
    derived = derived.without_later_copies(on_map.places(derived.ids))
    if derived.provenance == DERIVED and split == "train":
        slip = "the rule keeps one pair that the authors' list of 34,769 has lost: it lacks both copies of 0025234"
        derived = replace(derived, notes=(slip,))
    return derived


def _find_cleaned(folder: Path, split: str) -> SplitList | None:
    """The list known as the cleaned one by its content, else the first that lies under a name with "clean" in it."""
    named = None
    for path in _csv_files(folder):
        if not path.name.lower().startswith("train" if split == "train" else "val"):
            continue
        candidate = read_list(path)
        if candidate.provenance == "cleaned":
            return candidate
        if named is None and "clean" in str(path.relative_to(folder)).lower():
            named = candidate
    return named


def _csv_files(folder: Path) -> Iterator[Path]:
    found = {path for pattern in _CLEANED_FOLDERS for path in folder.glob(f"{pattern}/*.csv")}
    return iter(sorted(found))


def read_list(path: Path) -> SplitList:
    """Reads the rows (aerial, panorama, annotation), and says where the list comes from."""
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
    known = (PROVENANCE.get(hashlib.md5(text, usedforsecurity=False).hexdigest()) for text in (data, as_released))
    provenance = next(filter(None, known), "custom")
    return SplitList(path, [row[0] for row in rows], [row[1] for row in rows], provenance)
