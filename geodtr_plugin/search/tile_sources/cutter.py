"""Tiles out of the blocks of a source; a block is read once as long as tiles are asked for in walking order."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..photos import SMALLEST, BadImageError
from .mercator import plane_a_metre, to_plane
from .source import Block, TileSource

CACHE = 128 * 2**20  # bytes of decoded blocks that are kept
MOST_EMPTY = 0.5  # share of a tile that may show nothing
_MARGIN = 4  # pixels around a tile that the filter may look at
_PICTURE = 480  # pixels along a tile that people look at, at most


@dataclass(frozen=True, eq=False)
class Cut:
    """A tile.

    Args:
        pixels: uint8 `[pixels, pixels, 3]`, north up; where the source shows nothing, the mean of the rest.
        empty: share that the source does not show.
    """

    pixels: np.ndarray
    empty: float


class TileCutter:
    """Cut tiles, in any number of threads.

    Args:
        source: the picture of the ground.
        metres: along a tile.
        pixels: along a tile.
        capacity: bytes of blocks that are kept in memory.
    """

    def __init__(self, source: TileSource, metres: float, pixels: int, capacity: int = CACHE):
        self.source, self.metres, self.pixels, self.capacity = source, metres, pixels, capacity
        self._cache = _BlockCache(source.read, capacity)
        self._around = source.side * 2**source.zoom  # pixels

    def strip(self, step: float) -> float:
        """Return metres along rows, a step apart, whose blocks stay in memory until the next row needs them again."""
        pixel = 1 / (plane_a_metre(0.0).mean() * self._around)  # metres, at the equator, where fewest are needed
        rows = (self.metres + step) / pixel + 2 * self.source.side
        return min(pixel * max(self.capacity / (4 * rows), self.source.side) / 2, self.source.widest())

    def cut(self, place: np.ndarray, pixels: int | None = None) -> Cut:
        """Return the tile around a latitude and longitude in degrees, `[2]`.

        Raises:
            BadImageError: a part of it is damaged.
        """
        centre = to_plane(place[None])[0] * self._around
        half = self.metres / 2 * plane_a_metre(place[0]) * self._around
        window = np.concatenate([np.floor(centre - half) - _MARGIN, np.ceil(centre + half) + _MARGIN]).astype(np.int64)
        canvas = self._canvas(*window.tolist())
        box = tuple(np.concatenate([centre - half, centre + half] - np.tile(window[:2], 2).reshape(2, 2)).tolist())
        side = pixels or self.pixels
        cut = np.asarray(Image.fromarray(canvas).resize((side, side), Image.Resampling.BILINEAR, box))
        return _filled(cut) if cut.shape[2] == 4 else Cut(cut, 0.0)

    def picture(self, place: np.ndarray) -> np.ndarray:
        """Return a tile for people, in the resolution of the source, uint8 `[side, side, 3]`.

        Raises:
            BadImageError: a part of it is damaged, or it shows nothing.
        """
        wide = self.metres * float(plane_a_metre(place[0]).mean()) * self._around
        cut = self.cut(place, max(SMALLEST, min(_PICTURE, round(wide))))
        if cut.empty > MOST_EMPTY:
            raise BadImageError(EMPTY)
        return cut.pixels

    def _canvas(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
        """Return a window of the plane, uint8 `[H, W, 3]`, or 4 with alpha where some of it shows nothing."""
        side, columns = self.source.side, 2**self.source.zoom
        numbers = [
            (column, row) for row in range(top // side, (bottom - 1) // side + 1)
            for column in range(left // side, (right - 1) // side + 1)
        ]  # fmt: skip
        blocks = {(column, row): self._cache.get(column % columns, row) for column, row in numbers}
        opaque = all(block is not None and block.shape[2] == 3 for block in blocks.values())
        canvas = np.zeros((bottom - top, right - left, 3 if opaque else 4), np.uint8)
        for (column, row), block in blocks.items():
            if block is None:
                continue
            x, y = column * side, row * side
            x0, y0, x1, y1 = max(x, left), max(y, top), min(x + side, right), min(y + side, bottom)
            part, target = block[y0 - y : y1 - y, x0 - x : x1 - x], canvas[y0 - top : y1 - top, x0 - left : x1 - left]
            target[..., : part.shape[2]] = part
            if part.shape[2] < target.shape[2]:
                target[..., 3] = 255
        return canvas


EMPTY = "is mostly without data"


class _BlockCache:
    """The blocks that were asked for last. A block is read by the thread that asks first, and others wait for it."""

    def __init__(self, read: Callable[[int, int], Block], capacity: int):
        self._read, self._capacity, self._size, self._lock = read, capacity, 0, threading.Lock()
        self._blocks: OrderedDict[tuple[int, int], Future[Block]] = OrderedDict()

    def get(self, column: int, row: int) -> Block:
        """Return a block.

        Raises:
            BadImageError: it is damaged.
        """
        key = column, row
        with self._lock:
            mine = key not in self._blocks
            future = self._blocks.setdefault(key, Future())
            self._blocks.move_to_end(key)
        if mine:
            self._fill(key, future)
        return future.result()

    def _fill(self, key: tuple[int, int], future: Future[Block]) -> None:
        try:
            block = self._read(*key)
        except BaseException as error:  # whoever waits must hear of it
            with self._lock:
                if not isinstance(error, BadImageError):  # such as Ctrl-C, which says nothing of the block
                    del self._blocks[key]
            return future.set_exception(error)
        future.set_result(block)
        with self._lock:
            self._size += _bytes(block)
            while self._size > self._capacity:
                oldest = next(key for key, each in self._blocks.items() if each.done())
                dropped = self._blocks.pop(oldest)
                self._size -= 0 if dropped.exception() else _bytes(dropped.result())


def _bytes(block: Block) -> int:
    return 0 if block is None else block.nbytes


def _filled(cut: np.ndarray) -> Cut:
    """Return a tile `[S, S, 4]` whose empty pixels have the mean colour of the others."""
    empty = cut[..., 3] < 128
    pixels = cut[..., :3].copy()
    if not empty.all():
        pixels[empty] = pixels[~empty].mean(axis=0).round().astype(np.uint8)
    return Cut(pixels, float(empty.mean()))
