"""Write a miniature VIGOR, file for file in its format, so that tests need no download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from trees import Picture, panorama_ids, save_jpeg, smooth_noise

CITIES = {
    "Chicago": (41.88, -87.63),
    "NewYork": (40.72, -74.0),
    "SanFrancisco": (37.77, -122.42),
    "Seattle": (47.6, -122.33),
}
METRES_PER_DEGREE = 111_320.0
METRES_PER_PIXEL = 0.114
STEP = 36.5  # metres between the centres of neighbouring tiles, which are 73 m wide and overlap by half


@dataclass(frozen=True)
class City:
    """What was written of a city: names as in the lists, and each panorama's tiles, the positive first."""

    tiles: list[str]
    panoramas: list[str]
    shown_by: list[list[int]]
    train: list[int]
    test: list[int]


def write_vigor(
    root: Path,
    cities: Sequence[str] = tuple(CITIES),
    grid: int = 4,
    num_panoramas: int = 8,
    picture: Picture = smooth_noise,
    ground_size: tuple[int, int] = (32, 64),
    aerial_size: tuple[int, int] = (32, 32),
    images: str = "released",
    labels: Sequence[str] = ("splits", "splits__corrected"),
    tile_extension: str = ".png",
    listed_extension: str = ".png",
    line_end: str = "\n",
) -> dict[str, City]:
    """Write VIGOR; the real sizes are 1024 x 2048 and 640 x 640, and a city has some 22,000 tiles.

    Args:
        root: the folder that gets the cities.
        cities: the cities to write.
        grid: a city has grid x grid tiles.
        num_panoramas: panoramas of a city; the second half of them shows the tiles of the first half again.
        picture: draws the images; the number of a place is that of its tile.
        ground_size: (height, width).
        aerial_size: (height, width).
        images: "released" for <City>/panorama and <City>/satellite, "grouped" for ground/<City> and satellite/<City>.
        labels: folders that get label lists: "splits", "splits__corrected", "splits_new", or "." for the cities'.
        tile_extension: of the tiles on disk; .jpg for some copies.
        listed_extension: of the tiles in the lists.
        line_end: ends the lines of the lists.
    """
    written = {}
    for number, city in enumerate(cities):
        drawn, offsets = _draw_city(city, grid, num_panoramas, listed_extension, seed=number)
        panorama, tile = ("{0}/panorama", "{0}/satellite") if images == "released" else ("ground/{0}", "satellite/{0}")
        for i, name in enumerate(drawn.tiles):
            pixels = picture("aerial", 1000 * number + i, *aerial_size)
            save_tile((root / tile.format(city) / name).with_suffix(tile_extension), pixels)
        for name, shown_by in zip(drawn.panoramas, drawn.shown_by):
            pixels = picture("ground", 1000 * number + shown_by[0], *ground_size)
            save_jpeg(root / panorama.format(city) / name, pixels)
        for folder in labels:
            _write_lists(root / folder / city, drawn, offsets, folder == "splits__corrected", line_end)
        written[city] = drawn
    return written


def save_tile(path: Path, pixels: np.ndarray) -> None:
    """Write a tile by the extension of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def label_line(panorama: str, tiles: Sequence[str], offsets: np.ndarray) -> str:
    """A line of a label list: panorama, then four times tile, d0 (pixels down), d1 (minus the pixels to the right)."""
    parts = [f"{tile} {down} {-right}" for tile, (down, right) in zip(tiles, offsets.round(2).tolist())]
    return " ".join([panorama, *parts])


def _draw_city(city: str, grid: int, num_panoramas: int, extension: str, seed: int) -> tuple[City, np.ndarray]:
    """Names and truth, and the panoramas' offsets in their tiles, pixels down and right, `[N, 4, 2]`."""
    draw = np.random.default_rng(seed)
    latitude, longitude = CITIES[city]
    degrees = np.array([1, 1 / np.cos(np.deg2rad(latitude))]) / METRES_PER_DEGREE
    rows, columns = np.divmod(draw.permutation(grid * grid), grid)  # tile lists are in no spatial order
    centres = STEP * np.stack([-rows, columns], axis=1)  # metres north and east
    half = -(-num_panoramas // 2)
    inner = np.flatnonzero((rows > 0) & (rows < grid - 1) & (columns > 0) & (columns < grid - 1))
    tiles = np.tile(inner[np.arange(half) % len(inner)], 2)[:num_panoramas]
    at = centres[tiles] + STEP * draw.uniform(-0.45, 0.45, (num_panoramas, 2))
    apart = at[:, None] - centres[None]
    shown_by = np.argsort(np.square(apart).sum(axis=2), axis=1)[:, :4]
    offsets = np.take_along_axis(apart, shown_by[..., None], axis=1) / METRES_PER_PIXEL * [-1, 1]
    where = (centres * degrees + [latitude, longitude]).tolist()
    tile_names = [f"satellite_{north:.12f}_{east:.12f}{extension}" for north, east in where]
    ids = panorama_ids(num_panoramas * len(CITIES))[seed :: len(CITIES)]
    places = (at * degrees + [latitude, longitude]).tolist()
    names = [f"{name},{north:.6f},{east:.6f},.jpg" for name, (north, east) in zip(ids, places)]
    train = draw.permutation(num_panoramas).tolist()
    middle = -(-num_panoramas // 2)
    return City(tile_names, names, shown_by.tolist(), train[:middle], train[middle:]), offsets


def _write_lists(folder: Path, city: City, offsets: np.ndarray, corrected: bool, line_end: str) -> None:
    """satellite_list.txt and the three label lists; corrected offsets differ by some pixels, the tiles do not."""
    lines = [
        label_line(name, [city.tiles[i] for i in tiles], offset * (1.02 if corrected else 1.0))
        for name, tiles, offset in zip(city.panoramas, city.shown_by, offsets)
    ]
    suffix = "__corrected" if corrected else ""
    content = {
        "satellite_list": city.tiles,
        f"same_area_balanced_train{suffix}": [lines[i] for i in city.train],
        f"same_area_balanced_test{suffix}": [lines[i] for i in city.test],
        f"pano_label_balanced{suffix}": lines,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in content.items():
        (folder / f"{name}.txt").write_bytes("".join(row + line_end for row in rows).encode())
