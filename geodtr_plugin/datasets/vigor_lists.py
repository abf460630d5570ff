"""The lists of VIGOR: the tiles of a city, and lines that name a panorama, its positive and its semi-positive tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UnknownNameError
from .find_root import first_path, how_to_get
from .registry import title_of

LABELS = ("auto", "original", "corrected")
EXTENSIONS = (".png", ".jpg", ".jpeg")  # tiles are .png in the lists, but .jpg in some copies of the images
# Where a city's lists lie; {} is the list's name. Corrected labels move a place within its tiles, by metres; which
# tiles show it is the same in both, so that the numbers of a retrieval are too.
_HOMES = {
    "corrected": (
        "splits__corrected/{city}/{}__corrected.txt",
        "splits/{city}/{}__corrected.txt",
        "splits_new/{city}/{}__corrected.txt",
        "{city}/{}__corrected.txt",
        "splits__corrected/{city}/{}.txt",
        "splits_new/{city}/{}.txt",
    ),
    "original": ("splits/{city}/{}.txt", "{city}/{}.txt"),
}
_TILE_LISTS = tuple(
    f"{folder}{{city}}/satellite_list.txt" for folder in ("splits__corrected/", "splits/", "splits_new/", "")
)
_COLUMNS = 13  # the panorama, then four times a tile and the place's offset in it: pixels down, pixels to the left
TILE_PIXELS = 640  # along a tile, as the offsets count them, whatever the size of the images
# Metres to a pixel: of the released labels everywhere the same, and as SliceMatch measured them for the corrected ones.
METRES_PER_PIXEL = {
    "original": {"Chicago": 0.114, "NewYork": 0.114, "SanFrancisco": 0.114, "Seattle": 0.114},
    "corrected": {"Chicago": 0.111262, "NewYork": 0.113248, "SanFrancisco": 0.118141, "Seattle": 0.100817},
}


@dataclass(frozen=True, eq=False)
class CityLists:
    """The lists of a city; files are named without their extension.

    Args:
        city: its name.
        labels: "original" or "corrected".
        home: the folder of the label list, relative to the data set's.
        tiles: all tiles, in the order of their list.
        panoramas: the panoramas of the split, in the order of their list.
        shown_by: rows of the tiles that show a panorama's place, int64 `[N, 4]`: the positive, three semi-positives.
        offsets: where the panorama stands in each of these, (down, right) of the tile's centre in parts of its side,
            float64 `[N, 4, 2]`.
        tile_positions: latitude and longitude of the tiles' centres, float64 `[M, 2]`.
        positions: latitude and longitude of the panoramas, float64 `[N, 2]`.
    """

    city: str
    labels: str
    home: str
    tiles: list[str]
    panoramas: list[str]
    shown_by: np.ndarray
    offsets: np.ndarray
    tile_positions: np.ndarray
    positions: np.ndarray

    @property
    def tile_metres(self) -> float:
        """Metres along a tile, as the labels count them."""
        return TILE_PIXELS * METRES_PER_PIXEL[self.labels][self.city]


def read_city(name: str, folder: Path, city: str, label_list: str, labels: str) -> CityLists:
    """Read the tile list and one label list of a city.

    Args:
        name: the data set, for messages.
        folder: the data set's folder.
        city: as its folder is called.
        label_list: same_area_balanced_train, same_area_balanced_test or pano_label_balanced.
        labels: one of LABELS; "auto" takes the corrected list where there is one.

    Raises:
        UnknownNameError: there are no such labels.
        DatasetNotFoundError: a list is not there.
        DatasetCorruptError: a line cannot be used.
    """
    if labels not in LABELS:
        raise UnknownNameError("kind of VIGOR labels", labels, LABELS)
    kinds = ("corrected", "original") if labels == "auto" else (labels,)
    homes = {home.format(label_list, city=city): kind for kind in kinds for home in _HOMES[kind]}
    path = _find_list(name, folder, list(homes))
    # Beside the labels if it is there: a tile list of another place may be in another order.
    beside = f"{Path(path).parent.as_posix()}/satellite_list.txt"
    tile_list = folder / _find_list(name, folder, [beside, *(home.format(city=city) for home in _TILE_LISTS)])
    tiles, tile_positions = _read_tiles(tile_list)
    panoramas, positions, shown_by, offsets = _read_labels(folder / path, tiles, tile_list)
    _check_order(folder / path, positions, tile_positions[shown_by])
    home = Path(path).parent.parent.as_posix()
    return CityLists(city, homes[path], home, list(tiles), panoramas, shown_by, offsets, tile_positions, positions)


def _find_list(name: str, folder: Path, candidates: list[str]) -> str:
    path = first_path(folder, candidates)
    if path is None:
        raise DatasetNotFoundError(
            f"{title_of(name)} in {folder} lacks a list: none of {', '.join(dict.fromkeys(candidates))} is there.",
            f"The lists are a download of their own, apart from the images (splits.zip). {how_to_get(name)}",
        )
    return path


def _read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of every line that is not blank, and its cells; of paths, the names alone."""
    with open(path, encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            cells = [cell.rpartition("/")[2] for cell in line.replace("\\", "/").split()]
            if cells:
                yield number, cells


def _read_tiles(path: Path) -> tuple[dict[str, int], np.ndarray]:
    """Return the row of every tile by name, and the positions `[M, 2]`."""
    tiles: dict[str, int] = {}
    positions = []
    for number, cells in _read_lines(path):
        tile = _without_extension(cells[0])
        try:
            positions.append(_position(tile, "_"))
        except ValueError:
            raise _bad_line(path, number, f"{cells[0]!r} is not named satellite_<latitude>_<longitude>.png") from None
        if tile in tiles:
            raise _bad_line(path, number, f"{cells[0]} is named a second time")
        tiles[tile] = len(tiles)
    if not tiles:
        raise DatasetCorruptError(f"{path} names no tile.", "Copy it again.")
    return tiles, np.array(positions, np.float64)


def _read_labels(
    path: Path, tiles: dict[str, int], tile_list: Path
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return the panoramas, their positions `[N, 2]`, the rows of their four tiles, int64 `[N, 4]`, and the offsets."""
    panoramas, positions, shown_by, offsets = [], [], [], []
    for number, cells in _read_lines(path):
        if len(cells) != _COLUMNS:
            raise _bad_line(path, number, f"it has {len(cells)} columns in place of {_COLUMNS}")
        panorama, named = _without_extension(cells[0]), [_without_extension(cell) for cell in cells[1::3]]
        try:
            positions.append(_position(panorama.rstrip(","), ","))
        except ValueError:
            reason = f"{cells[0]!r} is not named <panorama>,<latitude>,<longitude>,.jpg"
            raise _bad_line(path, number, reason) from None
        unknown = next((cell for tile, cell in zip(named, cells[1::3]) if tile not in tiles), None)
        if unknown is not None:
            raise _bad_line(path, number, f"{unknown!r} is not in {tile_list}")
        if len(set(named)) < len(named):
            raise _bad_line(path, number, "it names a tile twice")
        panoramas.append(panorama)
        shown_by.append([tiles[tile] for tile in named])
        offsets.append(_offsets(path, number, cells))
    if not panoramas:
        raise DatasetCorruptError(f"{path} names no panorama.", "Copy it again.")
    return panoramas, np.array(positions, np.float64), np.array(shown_by, np.int64), np.array(offsets, np.float64)


def _offsets(path: Path, number: int, cells: list[str]) -> list[tuple[float, float]]:
    """Return the four offsets of a line, (down, right) in parts of a tile's side."""
    try:
        pixels = [(float(down), -float(left)) for down, left in zip(cells[2::3], cells[3::3])]
    except ValueError:
        raise _bad_line(path, number, "an offset is no number") from None
    return [(down / TILE_PIXELS, right / TILE_PIXELS) for down, right in pixels]


def _bad_line(path: Path, number: int, reason: str) -> DatasetCorruptError:
    return DatasetCorruptError(
        f"Line {number} of {path} cannot be used: {reason}.",
        "Every line of a label list is a panorama, then four times a tile and two numbers; copy the list again.",
    )


def _without_extension(name: str) -> str:
    return next((name.removesuffix(end) for end in EXTENSIONS if name.endswith(end)), name)


def _position(name: str, separator: str) -> tuple[float, float]:
    """Return latitude and longitude in degrees, which end a file's name, or raise ValueError."""
    _, latitude, longitude = name.rsplit(separator, 2)
    return float(latitude), float(longitude)


def _check_order(path: Path, positions: np.ndarray, tiles: np.ndarray) -> None:
    """Raise DatasetCorruptError where the first of four tiles, degrees `[N, 4, 2]`, is mostly not the nearest."""
    offsets = tiles - positions[:, None]
    offsets[..., 1] *= np.cos(np.deg2rad(positions[:, None, 0]))
    nearest = np.square(offsets).sum(axis=2).argmin(axis=1)
    wrong = int((nearest != 0).sum())
    if 2 * wrong > len(positions):
        raise DatasetCorruptError(
            f"{path} has its columns in another order: the first tile of a line is the positive and the nearest, but "
            f"in {wrong:,} of {len(positions):,} lines another one is nearer.",
            "Copy the list again.",
        )
