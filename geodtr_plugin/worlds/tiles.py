"""The grid of overlapping tiles of the offset worlds: step half a tile, so that four tiles cover every place."""

from __future__ import annotations

import math

import numpy as np

from .builder import SCENE_SIZE
from .cameras import MARGIN
from .capture import POSITION_ERROR
from .scene import Camera

TILE_SIDE = 72.0  # metres along an aerial tile
STEP = TILE_SIDE / 2  # metres between neighbouring tiles' centres
_REACH = MARGIN - 6 * POSITION_ERROR  # metres from the scene's edge to the outermost recorded place, at realism 2
_FIRST = math.floor(_REACH / STEP)  # the grid runs from line _FIRST to line _LAST, counted from the scene's edge
_LAST = math.ceil((SCENE_SIZE - _REACH) / STEP)
SIDE = _LAST - _FIRST + 1
TILES = SIDE * SIDE  # tiles of one scene


def tile_centres(cell: float) -> list[Camera]:
    """Return the centres of all tiles of a scene whose cells are `cell` metres wide, row by row from the north-west."""
    step = round(STEP / cell)
    lines = range(_FIRST * step, _LAST * step + 1, step)
    return [Camera(row, column) for row in lines for column in lines]


def covering_tiles(east: float, south: float) -> np.ndarray:
    """Return the four tiles that hold a place, from the nearest centre to the farthest.

    Args:
        east, south: metres from the scene's north-west corner. A place on a tile's border belongs to the tile whose
            west or north border it is.

    Returns:
        int64 `[4]`, numbers into `tile_centres`.
    """
    columns = math.floor(east / STEP) + np.array([0, 1, 0, 1])
    rows = math.floor(south / STEP) + np.array([0, 0, 1, 1])
    distance = (columns * STEP - east) ** 2 + (rows * STEP - south) ** 2
    tiles = (rows - _FIRST) * SIDE + (columns - _FIRST)
    return tiles[np.argsort(distance, kind="stable")].astype(np.int64)
