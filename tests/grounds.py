"""A ground whose colour is known at every latitude and longitude, and pictures of it in people's formats."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

WAVES = np.random.default_rng(5).uniform(-1, 1, (6, 3))  # direction and phase, for two waves a channel
A, E2 = 6_378_137.0, 0.00669437999014  # WGS 84


def offset(places: np.ndarray, origin: tuple[float, float]) -> np.ndarray:
    """Return metres east and north of an origin for places in degrees, `[..., 2]`; good for a few kilometres."""
    lat, lon = np.radians(origin)
    w = 1 - E2 * np.sin(lat) ** 2
    radii = A / np.sqrt(w) * np.cos(lat), A * (1 - E2) / w**1.5
    turn = (places[..., 1] - origin[1] + 180) % 360 - 180
    return np.radians(np.stack([turn, places[..., 0] - origin[0]], -1)) * radii


def moved(origin: tuple[float, float], metres: np.ndarray) -> np.ndarray:
    """Return places in degrees at metres east and north of an origin, `[..., 2]`."""
    scale = offset(np.add(origin, np.ones(2)), origin)
    return np.array(origin) + (metres / scale)[..., ::-1]


def colours(places: np.ndarray) -> np.ndarray:
    """Return the colour of places in degrees, `[..., 2]` -> uint8 `[..., 3]`: waves of 30 to 90 m."""
    lat, lon = np.radians(places[..., 0]), np.radians(places[..., 1])
    metres = np.stack([A * np.cos(lat) * np.cos(lon), A * np.cos(lat) * np.sin(lon), A * np.sin(lat)], -1)
    length = 2 * np.pi / np.array([35.0, 60.0, 45.0, 80.0, 30.0, 90.0])
    phase = metres @ (WAVES / np.linalg.norm(WAVES, axis=1, keepdims=True)).T * length
    return (127.5 + 60 * (np.sin(phase[..., 0::2]) + np.sin(phase[..., 1::2]))).clip(0, 255).round().astype(np.uint8)


def wanted_tile(place, metres: float, pixels: int) -> np.ndarray:
    """Return the tile around a place, uint8 `[pixels, pixels, 3]`, without any map in between."""
    along = (np.arange(pixels) + 0.5) / pixels * metres - metres / 2
    east, south = np.meshgrid(along, along)
    return colours(moved(tuple(place), np.stack([east, -south], -1)))


def shift_between(tile: np.ndarray, place, metres: float) -> np.ndarray:
    """Return by how many metres (east, north) what a tile shows lies from where it should, by least squares."""
    pixels, step = len(tile), 0.5
    wanted = wanted_tile(place, metres, pixels).astype(float)
    beside = [wanted_tile(moved(tuple(place), np.array(move)), metres, pixels) for move in ((step, 0), (0, step))]
    slopes = np.stack([((each.astype(float) - wanted) / step).ravel() for each in beside], 1)
    return np.linalg.lstsq(slopes, (tile - wanted).ravel(), rcond=None)[0]


def mercator_tile(zoom: int, x: int, y: int, side: int = 256) -> np.ndarray:
    """Return an XYZ tile, by the formulas of the OpenStreetMap wiki."""
    along = (np.arange(side) + 0.5) / side
    column, row = np.meshgrid((x + along) / 2**zoom, (y + along) / 2**zoom)
    return colours(np.stack([np.degrees(np.arctan(np.sinh(np.pi * (1 - 2 * row)))), column * 360 - 180], -1))


def tiles_around(place, metres: float, zoom: int) -> Iterator[tuple[int, int]]:
    """Yield the XYZ tiles within metres of a place, beyond the date line too."""
    import mercantile

    (south, west), (north, east) = (moved(tuple(place), np.array([m, m])) for m in (-metres, metres))
    west, east = ((lon + 180) % 360 - 180 for lon in (west, east))
    first, last = mercantile.tile(west, north, zoom), mercantile.tile(east, south, zoom)
    for step in range((last.x - first.x) % 2**zoom + 1):
        yield from (((first.x + step) % 2**zoom, y) for y in range(first.y, last.y + 1))


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    options = {"quality": 97} if kind in ("jpg", "webp") else {}
    Image.fromarray(pixels).save(stream, {"jpg": "JPEG"}.get(kind, kind.upper()), **options)
    return stream.getvalue()


def write_tree(folder: Path, place, metres: float, zoom: int, kind: str = "png", tms: bool = False, side=256) -> Path:
    """Write a z/x/y tree around a place."""
    for x, y in tiles_around(place, metres, zoom):
        row = 2**zoom - 1 - y if tms else y
        file = folder / str(zoom) / str(x) / f"{row}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(mercator_tile(zoom, x, y, side), kind))
    return folder


def write_mbtiles(file: Path, place, metres: float, zooms: tuple[int, ...], kind: str = "png") -> Path:
    """Write MBTiles around a place, as version 1.3 of their specification has it."""
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE metadata (name text, value text)")
        database.execute("CREATE TABLE tiles (zoom_level int, tile_column int, tile_row int, tile_data blob)")
        database.execute("INSERT INTO metadata VALUES ('name', 'ground'), ('format', ?)", (kind,))
        for zoom in zooms:
            for x, y in tiles_around(place, metres, zoom):
                row = zoom, x, 2**zoom - 1 - y, encoded(mercator_tile(zoom, x, y), kind)
                database.execute("INSERT INTO tiles VALUES (?, ?, ?, ?)", row)
    database.close()
    return file


def write_raster(
    file: Path, place, metres: float, crs: str | None, pixel: float, turn: float = 0.0, driver: str = "GTiff",
    change: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels, beyond: float = 0.0, **options,
) -> Path:  # fmt: skip
    """Write a georeferenced picture of 2 x 2 `metres` around a place.

    Args:
        file, place, metres: as above.
        crs: its system.
        pixel: metres along a pixel; in a geographic system about so many.
        turn: degrees by which its columns are turned from north, clockwise.
        driver: of GDAL.
        change: made of the pixels, `[H, W, 3]` -> `[H, W, C]`.
        beyond: added to the longitudes.
        options: of `rasterio.open`.
    """
    import rasterio
    import rasterio.warp

    size = round(2 * metres / pixel)
    (x,), (y,) = rasterio.warp.transform("EPSG:4326", crs, [place[1]], [place[0]])
    unit = np.array([1.0, 1.0])
    if rasterio.crs.CRS.from_user_input(crs).is_geographic:
        unit = moved(tuple(place), np.ones(2))[::-1] - np.array(place)[::-1]
    move = rasterio.Affine.translation
    transform = move(x + beyond, y) @ rasterio.Affine.scale(*unit) @ rasterio.Affine.rotation(-turn)
    transform = transform @ rasterio.Affine.scale(pixel, -pixel) @ move(-size / 2, -size / 2)
    columns, rows = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    a, b, c, d, e, f = transform[:6]
    xs, ys = a * columns + b * rows + c, d * columns + e * rows + f
    lon, lat = rasterio.warp.transform(crs, "EPSG:4326", (xs - beyond).ravel(), ys.ravel())
    pixels = change(colours(np.stack([lat, lon], -1).reshape(size, size, 2)))
    profile = {"width": size, "height": size, "count": pixels.shape[2], "dtype": pixels.dtype, "transform": transform}
    with rasterio.open(file, "w", driver=driver, crs=crs, **profile, **options) as picture:
        picture.write(np.moveaxis(pixels, -1, 0))
    return file
