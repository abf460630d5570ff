"""Where the places of CVUSA are: all.csv, which also tells what ids are one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetCorruptError
from .places import label_places

_LOCATIONS = ("split_locations/all.csv", "split_locations/split/all.csv", "all.csv")
LOCATIONS_FROM = "all.csv comes with the CVPR subset's archive of splits, as split_locations/all.csv."


class PlaceMap:
    """all.csv: two pairs of latitude and longitude, and a heading; row i - 1 is id i.

    Two ids are one place when their heading and one of their two positions are the same: it is the same panorama.
    """

    def __init__(self, path: Path):
        self.path = path
        self._table = _read(path)
        self._labels = label_places(self._table[:, 2:5], self._table[:, [0, 1, 4]]) + 1

    @classmethod
    def of(cls, folder: Path) -> PlaceMap | None:
        """The map in a data set's folder; None where there is none."""
        path = next((folder / path for path in _LOCATIONS if (folder / path).is_file()), None)
        return None if path is None else cls(path)

    def places(self, ids: Sequence[str]) -> np.ndarray:
        """Place label of every id: the lowest of the place's ids, so that it is the same in both splits."""
        return self._labels[self._rows(ids)]

    def coordinates(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Latitude and longitude of the aerials and of the panoramas."""
        near = self._table[self._rows(ids)]
        return near[:, :2], near[:, 2:4]

    def _rows(self, ids: Sequence[str]) -> np.ndarray:
        numbers = own_places(ids)
        if len(numbers) and (numbers.min() < 1 or numbers.max() > len(self._table)):
            raise DatasetCorruptError(
                f"{self.path} has {len(self._table):,} rows, one an id, but the split list names id {numbers.max()}; "
                "copy it again or remove it."
            )
        return numbers - 1


def are_numbers(ids: Sequence[str]) -> bool:
    """Released ids are numbers; the names of own lists need not be, and then the map says nothing about them."""
    return all(name.isdecimal() for name in ids)


def own_places(ids: Sequence[str]) -> np.ndarray:
    """The id as place label; where ids are no numbers, a number for each different one, in the order of the list."""
    if are_numbers(ids):
        return np.array([int(name) for name in ids], np.int64)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
    return np.array([numbers[name] for name in ids], np.int64)


def _read(path: Path) -> np.ndarray:
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
    except ValueError as error:
        raise DatasetCorruptError(f"{path} is no table of numbers ({error}); copy it again or remove it.") from error
    if table.shape[1] != 5:
        raise DatasetCorruptError(f"{path} has {table.shape[1]} columns in place of 5; copy it again or remove it.")
    return table
