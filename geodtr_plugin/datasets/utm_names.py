"""Photos whose file names say where they were taken: `@east@north@zone@letter@...@.jpg`, in metres of UTM.

This is the common format of VPR-datasets-downloader (Berton et al., CVPR 2022), which has folders database and queries.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetCorruptError
from .photos import Photos
from .registry import title

_EXTENSIONS = (".jpg", ".jpeg", ".png")
# Fields between the separators, counted from 0; the first is empty. Only east and north are always given.
_EAST, _NORTH, _ZONE, _PANORAMA, _TILE = 1, 2, 3, 7, 8
_ROLES = (("queries",), ("database", "gallery"))  # gallery: as older versions call it
_SHAPE = "@east@north@zone@letter@latitude@longitude@panorama@tile@heading@pitch@roll@height@time@note@.jpg"


def named_homes(parts: tuple[str, ...]) -> list[list[str]]:
    """Where the queries and where the references of such a set may lie, for `parts` such as "images/test"."""
    return [[f"{part}/{folder}" for part in parts for folder in folders] for folders in _ROLES]


def first_home(folder: Path, homes: list[str]) -> str | None:
    """The first of the folders that is there."""
    return next((home for home in homes if (folder / home).is_dir()), None)


def read_named(name: str, folder: Path, home: str, zones: frozenset[str]) -> Photos:
    """The photos below a folder, sorted by path.

    Args:
        name: the data set.
        folder: its folder.
        home: the folder of the photos, relative to it.
        zones: where the data set lies; a name that tells another zone is of another data set.

    Raises:
        DatasetCorruptError: a name does not say where, or the photos are of another data set.
    """
    paths = _list(folder, home)
    if not paths:
        raise DatasetCorruptError(f"{folder / home} holds no photo; extract or format {title(name)} again.")
    cells = [path.rpartition("/")[2].split("@") for path in paths]
    at = np.array([_position(folder / path, fields) for path, fields in zip(paths, cells)])
    strange = next((i for i, fields in enumerate(cells) if not zones >= set(fields[_ZONE : _ZONE + 1]) - {""}), None)
    if strange is not None:
        raise DatasetCorruptError(
            f"{folder / paths[strange]} lies in UTM zone {cells[strange][_ZONE]}, but {title(name)} in "
            f"{' and '.join(sorted(zones))}: these are the photos of another data set. Name another folder."
        )
    views, panoramas = ([fields[i] if len(fields) > i + 1 else "" for fields in cells] for i in (_TILE, _PANORAMA))
    return Photos(paths, at, np.ones(len(paths), bool), views, panoramas)


def _list(folder: Path, home: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder / home, followlinks=True):
        folders.sort()
        start = Path(parent).relative_to(folder).as_posix()
        found += [f"{start}/{name}" for name in names if name.lower().endswith(_EXTENSIONS) and name[0] != "."]
    return sorted(found)


def _position(path: Path, fields: list[str]) -> tuple[float, float]:
    try:
        east, north = float(fields[_EAST]), float(fields[_NORTH])
        if not np.isfinite([east, north]).all():
            raise ValueError
    except (ValueError, IndexError):
        raise DatasetCorruptError(
            f"The name of {path} does not say where it was taken; it must be {_SHAPE}, of which the first two fields "
            "are needed. Format the data set again, or move the file elsewhere."
        ) from None
    return east, north
