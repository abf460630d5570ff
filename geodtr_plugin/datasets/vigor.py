"""VIGOR: panoramas and tiles of four cities, where a panorama may be taken anywhere in its tile.

Zhu, Yang, Chen: VIGOR: Cross-View Image Geo-localization beyond One-to-one Retrieval, CVPR 2021; corrected labels by
Lentsch, Xia, Caesar, Kooij: SliceMatch, CVPR 2023.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..evaluation.truth import Truth
from .base import Split
from .find_root import data_root, find_folder
from .images import ImageFiles
from .offsets import Offsets
from .registry import DatasetFacts, register_dataset, title_of
from .role_files import DirectoryCache, RoleFiles, missing_notes
from .vigor_lists import EXTENSIONS, CityLists, read_city


class Released(NamedTuple):
    """How many of a city's images the released lists name: its tiles, and the panoramas of each label list."""

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
_EAST_AND_NORTH, _WEST_AND_MIDDLE = ("NewYork", "Seattle"), ("SanFrancisco", "Chicago")
_CITIES: dict[str, dict[str, tuple[str, ...]]] = {
    "vigor-same": {"train": tuple(RELEASED), "test": tuple(RELEASED)},
    "vigor-cross": {"train": _EAST_AND_NORTH, "test": _WEST_AND_MIDDLE},
    "vigor-cross-reverse": {"train": _WEST_AND_MIDDLE, "test": _EAST_AND_NORTH},
}
_FOLDERS = frozenset({"vigor", "dataset"})
# As released, and as the makers of Sample4Geo and those after them arrange it.
_PANORAMAS = ("{city}/panorama", "ground/{city}")
_TILES = ("{city}/satellite", "satellite/{city}")


def _label_list(name: str, split: str) -> str:
    return f"same_area_balanced_{split}" if name == "vigor-same" else "pano_label_balanced"


def _facts(name: str, title: str, areas: tuple[str, str]) -> DatasetFacts:
    train, test = (
        sum(getattr(RELEASED[city], _label_list(name, split)) for city in _CITIES[name][split])
        for split in ("train", "test")
    )
    return DatasetFacts(
        title=title,
        pairs=(train, test),
        gallery=sum(RELEASED[city].tiles for city in _CITIES[name]["test"]),
        ground=(1024, 2048),
        aerial=(640, 640),
        paper="Zhu et al., CVPR 2021",
        page="the authors' repository https://github.com/Jeff-Zilence/VIGOR",
        centred=False,
        areas=areas,
    )


_TRAINED, _TESTED = "New York and Seattle", "Chicago and San Francisco"


@register_dataset("vigor-same", _facts("vigor-same", "VIGOR same-area", ("four cities", "four cities")))
@register_dataset("vigor-cross", _facts("vigor-cross", "VIGOR cross-area", (_TRAINED, _TESTED)))
@register_dataset("vigor-cross-reverse", _facts("vigor-cross-reverse", "VIGOR cross-area reverse", (_TESTED, _TRAINED)))
def load_vigor(
    name: str, split: str, root: str | os.PathLike[str] | None = None, labels: str = "auto", allow_partial: bool = False
) -> Split:
    """Read the lists of VIGOR. A place is a tile: two panoramas with the same positive tile are one place.

    The gallery is every tile of the split's cities, also in training, where the pairs use a part of them.

    Args:
        name: "vigor-same" (train and test in all four cities), "vigor-cross" (train in New York and Seattle, test in
            San Francisco and Chicago) or "vigor-cross-reverse".
        split: "train" or "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        labels: "original", "corrected", or "auto" for the corrected lists where they are there. The truth is the same.
        allow_partial: leave out panoramas and tiles that are not on disk.

    Raises:
        UnknownNameError: there are no such labels.
        DatasetNotFoundError: the folder, a list or an image is not there.
        DatasetCorruptError: a list cannot be used.
    """
    cities = _CITIES[name][split]
    needs = [[home.format(city=city) for home in homes] for city in cities for homes in (_PANORAMAS, _TILES)]
    folder = find_folder(name, data_root(name, root), _FOLDERS, needs)
    label_list = _label_list(name, split)
    lists = [read_city(name, folder, city, label_list, labels) for city in cities]
    return _split(name, split, folder, lists, _count_notes(lists, label_list), allow_partial)


def _count_notes(lists: Sequence[CityLists], label_list: str) -> tuple[str, ...]:
    """Return a note where the lists name other numbers than the released ones."""
    differences = []
    for city in lists:
        released = RELEASED[city.city].tiles, getattr(RELEASED[city.city], label_list)
        if (len(city.tiles), len(city.panoramas)) != released:
            tiles, panoramas = released
            differences.append(
                f"{city.city} {len(city.tiles):,} ({tiles:,}) and {len(city.panoramas):,} ({panoramas:,})"
            )
    note = f"tiles and panoramas in the lists (in the released ones): {', '.join(differences)}"
    return (note,) if differences else ()


def _split(
    name: str, split: str, folder: Path, lists: Sequence[CityLists], notes: tuple[str, ...], allow_partial: bool
) -> Split:
    """Return one gallery out of the cities' tiles, in the order of the cities and of their lists."""
    panoramas = _find_files(
        folder, "panoramas", _PANORAMAS, ".jpg", [(city.city, city.panoramas, city.positions) for city in lists]
    )
    tiles = _find_files(
        folder, "tiles of the gallery", _TILES, ".png", [(city.city, city.tiles, city.tile_positions) for city in lists]
    )
    starts = np.cumsum([0, *(len(city.tiles) for city in lists)])
    shown_by = np.concatenate([city.shown_by + start for city, start in zip(lists, starts)])
    positive = shown_by[:, 0]
    queries = np.flatnonzero(panoramas.present & tiles.present[positive])
    references = np.flatnonzero(tiles.present)
    allowed = allow_partial and len(queries) > 0
    missing = missing_notes(f"{title_of(name)} {split}", folder, panoramas, tiles, allowed, len(queries))
    truth = Truth.from_lists(shown_by[:, :1], shown_by[:, 1:]).take(queries).keep_references(references, len(tiles))
    offsets = Offsets(
        np.repeat(np.arange(len(shown_by)), shown_by.shape[1]),
        shown_by.ravel(),
        np.concatenate([city.offsets.reshape(-1, 2) for city in lists]),
        np.concatenate([np.full(len(city.tiles), city.tile_metres) for city in lists]),
    )
    labels = " and ".join(sorted({city.labels for city in lists}))
    return Split(
        name=name,
        split=split,
        queries=panoramas.images.take(queries),
        references=tiles.images.take(references),
        pairs=np.stack([np.arange(len(queries)), truth.positives.values], axis=1),
        query_places=positive[queries],
        reference_places=references,
        truth=truth,
        layout=f"{_home(panoramas)} and {_home(tiles)} in {folder}, {labels} lists from {_list_homes(lists)}",
        provenance=f"custom, {labels}" if notes else labels,
        percent_rounding="floor_plus_one",
        centred=False,
        notes=(*notes, *missing),
        total_pairs=len(shown_by),
        offsets=offsets.keep(queries, references),
    )


def _find_files(
    folder: Path, noun: str, homes: Sequence[str], extension: str, cities: Sequence[tuple[str, list[str], np.ndarray]]
) -> RoleFiles:
    """Look for the files of a role; cities are names, files without extension, and their degrees `[n, 2]`."""
    files, ends = DirectoryCache(folder), (extension, *(other for other in EXTENSIONS if other != extension))
    paths, present = zip(*(
        files.find(names, [f"{home.format(city=city)}/{{}}{end}" for home in homes for end in ends])
        for city, names, _ in cities
    ))  # fmt: skip
    # a panorama's id; of a tile, which has no other name, its position
    ids = [name.partition(",")[0] for _, names, _ in cities for name in names]
    at = np.concatenate([positions for *_, positions in cities])
    images = ImageFiles(folder, sum(paths, []), ids, coordinates=at, coordinate_kind="latlon")
    return RoleFiles(noun, images, np.concatenate(present))


def _home(files: RoleFiles) -> str:
    """Return the folder of the files, with <City> for the name of the city."""
    home = os.path.dirname(files.images.paths[int(np.argmax(files.present))])
    for city in RELEASED:
        home = home.replace(city, "<City>")
    return home


def _list_homes(lists: Sequence[CityLists]) -> str:
    homes = dict.fromkeys(city.home for city in lists)
    return " and ".join("the cities' folders" if home == "." else home for home in homes)
