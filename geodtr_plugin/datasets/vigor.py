"""VIGOR: panoramas and tiles of four cities, where a panorama may be taken anywhere in its tile.

Zhu, Yang, Chen: VIGOR: Cross-View Image Geo-localization beyond One-to-one Retrieval, CVPR 2021; corrected labels by
Lentsch, Xia, Caesar, Kooij: SliceMatch, CVPR 2023.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetNotFoundError
from ..utils.ragged import Ragged
from .aligned import DirectoryCache
from .base import Split
from .images import ImageFiles
from .locate import data_root, find_folder
from .registry import title
from .vigor_lists import EXTENSIONS, CityLists, read_city

_FOLDERS = frozenset({"vigor", "dataset"})
_FOUR = ("Chicago", "NewYork", "SanFrancisco", "Seattle")
_EAST_AND_NORTH, _WEST_AND_MIDDLE = ("NewYork", "Seattle"), ("SanFrancisco", "Chicago")
_CITIES = {
    "vigor-same": {"train": _FOUR, "test": _FOUR},
    "vigor-cross": {"train": _EAST_AND_NORTH, "test": _WEST_AND_MIDDLE},
    "vigor-cross-reverse": {"train": _WEST_AND_MIDDLE, "test": _EAST_AND_NORTH},
}
# As released, and as the makers of Sample4Geo and those after them arrange it.
_PANORAMAS = ("{city}/panorama", "ground/{city}")
_TILES = ("{city}/satellite", "satellite/{city}")


@dataclass(frozen=True)
class Released:
    """How many of a city's images the released lists name."""

    tiles: int
    pano_label_balanced: int
    same_area_balanced_train: int
    same_area_balanced_test: int


RELEASED = {
    "Chicago": Released(22_308, 25_479, 12_740, 12_739),
    "NewYork": Released(23_279, 27_769, 13_885, 13_884),
    "SanFrancisco": Released(24_255, 28_215, 14_108, 14_107),
    "Seattle": Released(20_776, 23_751, 11_876, 11_875),
}


def load_vigor(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    labels: str = "auto",
    allow_partial: bool = False,
) -> Split:
    """Reads the lists of VIGOR. A place is a tile: two panoramas with the same positive tile are one place.

    The gallery is every tile of the split's cities, also in training, where the pairs use a part of them.

    Args:
        name: "vigor-same" (train and test in all four cities), "vigor-cross" (train in New York and Seattle, test in
            San Francisco and Chicago) or "vigor-cross-reverse".
        split: "train" or "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        labels: "original", "corrected", or "auto" for the corrected lists where they are there. The truth is the same.
        allow_partial: leave out panoramas and tiles that are not on disk.
    """
    cities = _CITIES[name][split]
    needs = [[home.format(city=city) for home in homes] for city in cities for homes in (_PANORAMAS, _TILES)]
    folder = find_folder(name, data_root(name, root), _FOLDERS, needs)
    label_list = f"same_area_balanced_{split}" if name == "vigor-same" else "pano_label_balanced"
    lists = [read_city(name, folder, city, label_list, labels) for city in cities]
    return _index(name, split, folder, lists, _count(lists, label_list), allow_partial)


def _count(lists: Sequence[CityLists], label_list: str) -> tuple[str, ...]:
    """A note where the lists name other numbers than the released ones."""
    differences = []
    for one in lists:
        found, released = len(one.tiles), RELEASED[one.city].tiles
        asked, released_too = len(one.panoramas), getattr(RELEASED[one.city], label_list)
        if (found, asked) != (released, released_too):
            differences.append(f"{one.city} {found:,} ({released:,}) and {asked:,} ({released_too:,})")
    told = f"tiles and panoramas in the lists (in the released ones): {', '.join(differences)}"
    return (told,) if differences else ()


def _index(
    name: str, split: str, folder: Path, lists: Sequence[CityLists], notes: tuple[str, ...], allow_partial: bool
) -> Split:
    """One gallery out of the cities' tiles, in the order of the cities and of their lists."""
    panoramas = _Role(folder, _PANORAMAS, ".jpg", {one.city: one.panoramas for one in lists})
    tiles = _Role(folder, _TILES, ".png", {one.city: one.tiles for one in lists})
    starts = np.cumsum([0, *(len(one.tiles) for one in lists)])
    shown_by = np.concatenate([one.shown_by + start for one, start in zip(lists, starts)])
    positive = shown_by[:, 0]
    queries = np.flatnonzero(panoramas.present & tiles.present[positive])
    references = np.flatnonzero(tiles.present)
    labels = " and ".join(sorted({one.labels for one in lists}))
    missing = _tell_missing(f"{title(name)} {split}", folder, panoramas, tiles, len(queries))
    if missing and not (allow_partial and len(queries)):
        raise DatasetNotFoundError(f"{missing} Extract or copy the rest, or add --allow-partial to go on without them.")
    truth = Truth(_same_length(shown_by[:, :1]), _same_length(shown_by[:, 1:]))
    truth = truth.take(queries).keep_references(references, len(tiles.paths))
    return Split(
        name=name,
        split=split,
        queries=panoramas.images(folder, queries, np.concatenate([one.positions for one in lists])),
        references=tiles.images(folder, references, np.concatenate([one.tile_positions for one in lists])),
        pairs=np.stack([np.arange(len(queries)), truth.positives.values], axis=1),
        query_places=positive[queries],
        reference_places=references,
        truth=truth,
        layout=f"{panoramas.home} and {tiles.home} in {folder}, {labels} lists from {_homes(lists)}",
        provenance=f"custom, {labels}" if notes else labels,
        percent_rounding="floor_plus_one",
        centred=False,
        notes=(*notes, missing) if missing else notes,
        total_pairs=len(shown_by),
    )


class _Role:
    """Where the files of one role are, in the order of the lists.

    Args:
        folder: the data set's.
        homes: the folders that may hold a city's files.
        extension: the usual one.
        names: files without extension by city.
    """

    def __init__(self, folder: Path, homes: Sequence[str], extension: str, names: Mapping[str, Sequence[str]]):
        ends = (extension, *(other for other in EXTENSIONS if other != extension))
        self.paths: list[str] = []
        present: list[bool] = []
        for city in names:
            files = DirectoryCache(folder)
            starts = [f"{home.format(city=city)}/" for home in homes]
            # A file that is nowhere is told as missing from the first of them, which must be one that is there.
            starts.sort(key=lambda start: not (folder / start).is_dir())
            for name in names[city]:
                path, there = files.first([start + name + end for start in starts for end in ends])
                self.paths.append(path)
                present.append(there)
        self.present = np.array(present)
        self.home = os.path.dirname(self.paths[int(np.argmax(self.present))])
        for city in names:
            self.home = self.home.replace(city, "<City>")

    def images(self, folder: Path, rows: np.ndarray, positions: np.ndarray) -> ImageFiles:
        """The images of the given rows; `positions` is of all."""
        paths = [self.paths[i] for i in rows]
        ids = (_without_position(path) for path in paths)
        return ImageFiles(folder, paths, ids, (0.0, 1.0), positions[rows], "latlon")


def _without_position(path: str) -> str:
    """A panorama's id; of a tile, which has no other name, its position."""
    return os.path.splitext(os.path.basename(path))[0].partition(",")[0]


def _same_length(rows: np.ndarray) -> Ragged:
    return Ragged.from_counts(rows.ravel(), np.full(len(rows), rows.shape[1]))


def _homes(lists: Sequence[CityLists]) -> str:
    homes = dict.fromkeys(one.home for one in lists)
    return " and ".join("the cities' folders" if home == "." else home for home in homes)


def _tell_missing(what: str, folder: Path, panoramas: _Role, tiles: _Role, complete: int) -> str:
    """What is not on disk, in a sentence; nothing if all is there."""
    first = [role.paths[int(np.argmin(role.present))] for role in (tiles, panoramas) if not role.present.all()]
    if not first:
        return ""
    return (
        f"{what}: {complete:,} of {len(panoramas.present):,} pairs are complete under {folder}; "
        f"{int(panoramas.present.sum()):,} of {len(panoramas.present):,} panoramas and "
        f"{int(tiles.present.sum()):,} of {len(tiles.present):,} tiles of the gallery are there, "
        f"the first that is missing is {first[0]}."
    )
