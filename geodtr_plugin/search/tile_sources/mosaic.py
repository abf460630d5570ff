"""Georeferenced pictures as a source: warped to Web Mercator block by block, and laid over each other.

GDAL's warper is the general mechanism: it knows every projection, turned pictures, no-data values, masks, alpha and
overviews, and filters what it makes smaller.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from ..photos import BadImageError
from .mercator import AROUND, latitude_of, metres_a_pixel
from .options import DEEPEST
from .pyramids import coarsest
from .rasters import GDAL_CACHE, Raster, import_rasterio, quiet, reason
from .source import Block, TileSource

SIDE = 512  # pixels along a block: as wide as those of most COGs, and of GDAL's warper
MOST_OPEN = 32  # files of a mosaic
KEPT = 0.7  # share of GDAL's memory that is counted on: warped blocks lie in it too


class Mosaic(TileSource):
    """Pictures that are seen as one; where several show the same ground, the first of them does.

    Args:
        rasters: the pictures.
        metres: wanted on the ground along a pixel; blocks are never finer than the finest picture.
    """

    side = SIDE

    def __init__(self, rasters: Sequence[Raster], metres: float):
        self.rasters, self._open = list(rasters), _OpenRasters()
        latitude = float(latitude_of(np.mean([raster.extent[1::2] for raster in rasters])))
        wanted = max(metres, min(raster.metres for raster in rasters))
        self.zoom = coarsest(list(range(DEEPEST + 1)), wanted, latitude, SIDE)
        self.metres = metres_a_pixel(latitude, self.zoom, SIDE)
        extents = np.array([raster.extent for raster in rasters]) * 2**self.zoom
        self._first = np.floor(extents[:, :2]).astype(np.int64)  # column and row of each picture's first block
        self._counts = np.ceil(extents[:, 2:]).astype(np.int64) - self._first

        wide = [raster.name for raster in rasters if raster.in_rows and raster.size[0] * raster.metres > self.widest()]
        if wide:
            self.notes = (
                f"{wide[0]} is stored in rows too long for GDAL's memory, and is read several times. "
                "gdal_translate -of COG makes a copy that is read once.",
            )

    def blocks(self) -> np.ndarray:
        found = [np.indices(count).reshape(2, -1).T + first for first, count in zip(self._first, self._counts)]
        blocks = np.concatenate(found)
        blocks[:, 0] %= 2**self.zoom
        return np.unique(blocks, axis=0)

    def holds(self, places: np.ndarray) -> np.ndarray:
        blocks, held = self.block_of(places), np.zeros(len(places), bool)
        for number, raster in enumerate(self.rasters):
            near = np.flatnonzero(self._inside(blocks, number) & ~held)
            if len(near):
                held[near] = raster.contains(places[near])
        return held

    def read(self, column: int, row: int) -> Block:
        block: Block = None
        for number in np.flatnonzero(self._inside(np.array([column, row]), slice(None))).tolist():
            block = _over(block, self._read(number, column, row))
            if block is not None and block.shape[2] == 3:
                break
        return block

    def state(self) -> Any:
        status = {raster.name: os.stat(raster.path) for raster in self.rasters}
        return [[name, each.st_size, each.st_mtime_ns] for name, each in status.items()]

    def widest(self) -> float:
        pixel = min(raster.metres for raster in self.rasters)
        rows = SIDE * self.metres / pixel + 2 * SIDE  # of pixels in the finest picture that a row of blocks is made of
        return max(GDAL_CACHE * 1e6 / (len(self.rasters[0].bands) * rows), SIDE) * pixel * KEPT

    def _inside(self, blocks: np.ndarray, number: int | slice) -> np.ndarray:
        """Tell whether blocks lie among those of pictures, bool `[N]` for many blocks or many pictures."""
        return (self._offset(blocks, number) < self._counts[number]).all(axis=-1)

    def _offset(self, blocks: np.ndarray, number: int | slice) -> np.ndarray:
        """Return columns and rows counted from a picture's first block; very many for one that lies before it."""
        return (blocks - self._first[number]) % (2**self.zoom, 2**62)

    def _read(self, number: int, column: int, row: int) -> Block:
        """Return a block of one picture."""
        raster = self.rasters[number]
        x, y = (self._offset(np.array([column, row]), number) * SIDE).tolist()
        rasterio = import_rasterio()
        try:
            with self._open.get(number, self._warp) as picture:
                bands = [*raster.bands, raster.alpha or picture.count]
                pixels = picture.read(bands, window=((y, y + SIDE), (x, x + SIDE)))
        except rasterio.errors.RasterioError as error:
            raise BadImageError(f"{raster.name}, which is damaged ({reason(error)})") from error
        if not pixels[-1].any():
            return None
        colours = np.broadcast_to(pixels[:-1], (3, SIDE, SIDE))
        return _opaque_where_possible(np.concatenate([colours, pixels[-1:]]).transpose(1, 2, 0))

    def _warp(self, number: int) -> tuple[Any, Any]:
        """Open a picture, and the blocks that it becomes."""
        rasterio = import_rasterio()
        raster, pixel = self.rasters[number], AROUND / (SIDE * 2**self.zoom)
        left, top = (self._first[number] * SIDE * pixel * (1, -1) + (-AROUND / 2, AROUND / 2)).tolist()
        columns, rows = self._counts[number].tolist()
        kinds = rasterio.enums.Resampling
        # what becomes smaller loses nothing by the linear filter, which takes half the time
        filter = kinds.cubic if self.metres < raster.metres else kinds.bilinear
        dataset = rasterio.open(raster.path)
        return dataset, rasterio.vrt.WarpedVRT(
            dataset, src_crs=raster.crs, src_transform=raster.transform, crs="EPSG:3857", width=columns * SIDE,
            height=rows * SIDE, transform=rasterio.Affine(pixel, 0, left, 0, -pixel, top), add_alpha=not raster.alpha,
            resampling=filter, UNIFIED_SRC_NODATA="YES",  # black in one band is a colour
        )  # fmt: skip


class _OpenRasters:
    """Warped pictures that are open, the last MOST_OPEN that were read; one thread at a time, as GDAL wants it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: OrderedDict[int, tuple[Any, Any]] = OrderedDict()

    @contextmanager
    def get(self, number: int, open_it: Callable[[int], tuple[Any, Any]]) -> Iterator[Any]:
        """Return the warped picture of a number; others wait until the block ends."""
        with self._lock, quiet():
            if number not in self._open:
                self._open[number] = open_it(number)
            self._open.move_to_end(number)
            while len(self._open) > MOST_OPEN:
                for each in reversed(self._open.popitem(last=False)[1]):
                    each.close()
            yield self._open[number][1]


def _over(above: Block, below: Block) -> Block:
    """Return what two blocks show that lie over each other."""
    if above is None or below is None:
        return below if above is None else above
    images = [Image.fromarray(block).convert("RGBA") for block in (below, above)]
    return _opaque_where_possible(np.asarray(Image.alpha_composite(*images)))


def _opaque_where_possible(pixels: np.ndarray) -> np.ndarray:
    """Return pixels `[side, side, 4]` without their alpha where all of them show something."""
    opaque = (pixels[..., 3] == 255).all()
    return np.ascontiguousarray(pixels[..., :3] if opaque else pixels)
