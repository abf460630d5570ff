"""Georeferenced pictures: where one lies, which of its bands are colours, and why it cannot be used.

    RIGHT ANSWERS                                        REFUSED, EACH WITH ITS REASON
    any projected or geographic system, turned or not    no system and none named; ground control points alone
    longitudes beyond 180 degrees                        16 bits, floating point, palette
    no-data value, mask, alpha; grey, RGB, RGB + others  beyond 85 degrees, beyond what its projection can show
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.errors import UserError
from ..photos import BadImageError
from .mercator import NORTHERNMOST, plane_a_metre, to_plane

GDAL_CACHE = 256  # MB of decoded source blocks that GDAL keeps, unless GDAL_CACHEMAX says otherwise
LATLON = "EPSG:4326"
_EDGE = 33  # points along an edge by which the extent is found
_ASTRAY = 1.0  # pixels by which a point of the edge may miss itself on its way to degrees and back


@dataclass(frozen=True)
class Raster:
    """A georeferenced picture.

    Args:
        path: of the file.
        name: in messages.
        crs: its coordinate reference system, as WKT.
        transform: from columns and rows of pixels to its coordinates, as rasterio's Affine.
        size: width and height in pixels.
        bands: numbers of its red, green and blue band, or of its grey one.
        alpha: number of its alpha band; None where it has none.
        in_rows: the file holds whole rows of pixels and no blocks, so that a corner of it costs as much as a strip.
        extent: x and y in the plane from 0 to 1: left, top, right, bottom; a right above 1 lies beyond the date line.
        metres: on the ground along a pixel.
    """

    path: Path
    name: str
    crs: str
    transform: Any
    size: tuple[int, int]
    bands: tuple[int, ...]
    alpha: int | None
    in_rows: bool
    extent: tuple[float, float, float, float] = field(default=(0, 0, 0, 0))
    metres: float = 0

    def contains(self, places: np.ndarray) -> np.ndarray:
        """Tell which latitudes and longitudes in degrees, `[N, 2]`, lie in it, bool `[N]`."""
        at = _apply(~self.transform, _reproject(LATLON, self.crs, places[:, ::-1]))
        return ((at >= 0) & (at < self.size)).all(axis=1)


def import_rasterio() -> Any:
    """Return the module rasterio.

    Raises:
        UserError: it is not installed.
    """
    os.environ.setdefault("GDAL_CACHEMAX", str(GDAL_CACHE))
    try:
        import rasterio
        import rasterio.vrt
        import rasterio.warp
    except ImportError as error:
        remedy = 'pip install "geodtr_plugin[tiles]"; XYZ trees and MBTiles need nothing.'
        raise UserError("GeoTIFFs are read with rasterio, which is not installed.", remedy) from error
    return rasterio


def describe(path: Path, name: str, crs: str | None = None) -> list[Raster]:
    """Return a picture as a raster, or as two where its longitudes go beyond 180 degrees.

    Args:
        path: of the file.
        name: in messages.
        crs: of a file that does not say its own, such as "EPSG:25832".

    Raises:
        BadImageError: it cannot be used; the text follows its name.
        UserError: `crs` is none.
    """
    rasterio = import_rasterio()
    try:
        with quiet(), rasterio.open(path) as dataset:
            system = _system(dataset, path, crs)
            size, in_rows = (dataset.width, dataset.height), dataset.block_shapes[0][1] == dataset.width
            bands, alpha = _bands(dataset)
            transform, placed = dataset.transform, partial(_placed, path, name, system.to_wkt())
    except rasterio.errors.RasterioIOError as error:
        raise BadImageError(f"is no picture that GDAL reads ({reason(error)})") from error
    ways = _shifted(transform, size) if system.is_geographic else [transform]
    found = [placed(way, size, bands, alpha, in_rows) for way in ways]
    if not found:
        raise BadImageError("lies nowhere on Earth: its coordinates are no degrees")
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Silence rasterio's warnings of what is refused or accepted here anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reason(error: Exception) -> str:
    """Return GDAL's own words, which rasterio hides behind its error: the last of a chain, where it began."""
    return str(error.__cause__ or error).strip().rstrip(".").rpartition(": ")[2]


def _system(dataset: Any, path: Path, crs: str | None) -> Any:
    """Return the coordinate reference system of an open file: its own, that of a .prj beside it, or the named one."""
    rasterio = import_rasterio()
    beside = path.with_suffix(".prj")
    if dataset.gcps[0] and dataset.transform.is_identity:
        raise BadImageError("has ground control points only: gdalwarp makes a map of it")
    if dataset.transform.is_identity or dataset.transform.is_degenerate:
        raise BadImageError("does not say where it lies: it has no georeference, and no world file beside it")
    try:
        if dataset.crs is not None:
            return dataset.crs
        if beside.is_file():
            return rasterio.crs.CRS.from_wkt(beside.read_text(encoding="utf-8"), morph_from_esri_dialect=True)
    except (OSError, ValueError) as error:  # CRSError is a ValueError
        raise BadImageError(f"has a coordinate reference system that cannot be read ({reason(error)})") from error
    if crs is None:
        raise BadImageError("does not say its coordinate reference system: name it, such as --crs EPSG:25832")
    return named_system(crs)


def named_system(crs: str) -> Any:
    """Return the coordinate reference system of a name such as "EPSG:25832".

    Raises:
        UserError: there is none.
    """
    try:
        return import_rasterio().crs.CRS.from_user_input(crs)
    except ValueError as error:
        raise UserError(f"--crs is {crs!r}, which is no coordinate reference system.", "Such as EPSG:25832.") from error


def _bands(dataset: Any) -> tuple[tuple[int, ...], int | None]:
    """Return the numbers of the bands of colours, and that of the alpha band or None."""
    meanings = [colour.name for colour in dataset.colorinterp]
    if "palette" in meanings:
        raise BadImageError("has a palette: gdal_translate -expand rgb makes colours of it")
    if set(dataset.dtypes) != {"uint8"}:
        kinds = " and ".join(sorted(set(dataset.dtypes)))
        raise BadImageError(f"has pixels of {kinds}, not of 8 bits: gdal_translate -ot Byte -scale makes them so")
    alpha = meanings.index("alpha") + 1 if "alpha" in meanings else None
    if {"red", "green", "blue"} <= set(meanings):
        return tuple(meanings.index(colour) + 1 for colour in ("red", "green", "blue")), alpha
    others = [number for number in range(1, dataset.count + 1) if number != alpha]
    return tuple(others[:3] if len(others) >= 3 else others[:1]), alpha


def _shifted(transform: Any, size: tuple[int, int]) -> list[Any]:
    """Return the ways from pixels to degrees by which a part of a geographic picture lies from 180 W to 180 E."""
    x = _apply(transform, _corners(size))[:, 0]
    a, b, c, d, e, f = transform[:6]
    shifts = [shift for shift in (-360, 0, 360) if x.min() + shift < 180 and x.max() + shift > -180]
    return [type(transform)(a, b, c + shift, d, e, f) for shift in shifts]


def _placed(
    path: Path, name: str, crs: str, transform: Any, size: tuple[int, int], bands: tuple[int, ...], alpha: int | None,
    in_rows: bool,
) -> Raster:  # fmt: skip
    """Return a raster with its extent and its metres along a pixel."""
    edge = _apply(transform, _edges(size))
    degrees = _reproject(crs, LATLON, edge)
    back = _apply(~transform, _reproject(LATLON, crs, degrees))
    if not np.isfinite(degrees).all() or not (np.abs(back - _edges(size)) <= _ASTRAY).all():
        raise BadImageError("reaches beyond what its coordinate reference system can show: cut it with gdal_translate")
    if np.abs(degrees[:, 1]).max() > NORTHERNMOST:
        raise BadImageError("reaches beyond 85 degrees of latitude, where Web Mercator ends")
    middle = np.array(size) / 2 + np.array([[0, 0], [1, 0], [0, 1]])
    degrees = np.concatenate([_reproject(crs, LATLON, _apply(transform, middle)), degrees])
    centre = degrees[0].copy()
    degrees[:, 0] = centre[0] + (degrees[:, 0] - centre[0] + 180) % 360 - 180  # not torn at the date line
    plane = to_plane(degrees[:, ::-1])
    extent = tuple(np.concatenate([plane.min(axis=0), plane.max(axis=0)]).tolist())
    pixel = (plane[1:3] - plane[0]) / plane_a_metre(centre[1])  # two sides of one, metres east and south
    metres = float(np.sqrt(np.abs(np.linalg.det(pixel))))
    return Raster(path, name, crs, transform, size, bands, alpha, in_rows, extent, metres)


def _reproject(source: str, target: str, points: np.ndarray) -> np.ndarray:
    """Turn x and y of one system into those of another, longitude before latitude; infinite where there are none."""
    rasterio = import_rasterio()
    try:
        return np.array(rasterio.warp.transform(source, target, *points.T)[:2]).T.reshape(-1, 2)
    except (rasterio.errors.RasterioError, ValueError) as error:
        raise BadImageError(f"has a coordinate reference system without a way to degrees ({reason(error)})") from error


def _apply(transform: Any, points: np.ndarray) -> np.ndarray:
    a, b, c, d, e, f = transform[:6]
    return points @ np.array([[a, d], [b, e]]) + (c, f)


def _corners(size: tuple[int, int]) -> np.ndarray:
    return np.array([(x, y) for x in (0, size[0]) for y in (0, size[1])], np.float64)


def _edges(size: tuple[int, int]) -> np.ndarray:
    """Return points all along the border of a picture, float64 `[N, 2]`."""
    along = np.linspace(0, 1, _EDGE)
    sides = [(along, 0 * along), (along, 1 + 0 * along), (0 * along, along), (1 + 0 * along, along)]
    return np.concatenate([np.stack(side, axis=1) for side in sides]) * size
