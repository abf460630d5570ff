"""Where tiles are cut: one grid over the whole Earth, so that a place has the same centres whatever shows it.

Rows lie a step apart; each has the least number of columns that are a step apart at most, so that it closes at the date
line. Regions that were indexed apart share no tile and leave no gap.
"""

from __future__ import annotations

import numpy as np

from ...utils.errors import UserError
from ...utils.geo import EARTH_RADIUS, METRES_A_DEGREE
from ..area import Area

MOST_TILES = 50_000_000  # their centres take 16 bytes each
_ROWS, _COLUMNS = 2**27, 2**30  # more than there can be: rows to either pole, columns in a row


def grid_places(boxes: np.ndarray, step: float) -> np.ndarray:
    """Return the centres of the grid in boxes, latitude and longitude in degrees, float64 `[N, 2]`, north first.

    Args:
        boxes: south, west, north and east in degrees, `[M, 4]`; an east above 180 lies beyond the date line.
        step: metres from a centre to the next.

    Raises:
        UserError: there are too many.
    """
    rows, west, east = _rows(boxes, step)
    columns = _columns_of(rows, step)
    first = np.ceil((west + 180) / 360 * columns - 0.5).astype(np.int64)
    counts = np.maximum(np.ceil((east + 180) / 360 * columns - 0.5).astype(np.int64) - first, 0)
    if counts.sum() > MOST_TILES:
        raise UserError(
            f"There would be {counts.sum():,} tiles.", "Choose larger tiles, less overlap, or an area: --area."
        )
    row, around = np.repeat(rows, counts), np.repeat(columns, counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    column = (np.repeat(first, counts) + within) % around
    row, column = np.divmod(np.unique((_ROWS - row) * _COLUMNS + column), _COLUMNS)
    row = _ROWS - row
    return np.stack([_latitude(row, step), (column + 0.5) / _columns_of(row, step) * 360 - 180], axis=1)


def in_walking_order(places: np.ndarray, width: float) -> np.ndarray:
    """Return places `[N, 2]` strip by strip from west to east, in each row by row from north to south.

    Args:
        places: latitudes and longitudes in degrees.
        width: metres along a strip's rows: as much as is remembered until the next row needs it again.
    """
    if not len(places):
        return places
    east = (places[:, 1] - places[0, 1] + 180) % 360
    metres = east * METRES_A_DEGREE * np.cos(np.radians(np.abs(places[:, 0]).min()))
    strip = ((metres - metres.min()) // width).astype(np.int64)
    return places[np.lexsort((east, -places[:, 0], strip))]


def clip_to_area(boxes: np.ndarray, area: Area) -> np.ndarray:
    """Return boxes `[M, 4]` cut to the latitudes that an area reaches."""
    lowest, highest, _ = area.box()
    south, north = np.maximum(boxes[:, 0], lowest), np.minimum(boxes[:, 2], highest)
    return np.stack([south, boxes[:, 1], north, boxes[:, 3]], axis=1)[south < north]


def _rows(boxes: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row that crosses each box, with the box's west and east: int64 `[K]`, float64 `[K]` twice."""
    degrees = step / METRES_A_DEGREE
    first = np.ceil(boxes[:, 0] / degrees - 0.5).astype(np.int64)
    counts = np.maximum(np.ceil(boxes[:, 2] / degrees - 0.5).astype(np.int64) - first, 0)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(first, counts) + within, np.repeat(boxes[:, 1], counts), np.repeat(boxes[:, 3], counts)


def _latitude(row: np.ndarray, step: float) -> np.ndarray:
    return (row + 0.5) * step / METRES_A_DEGREE


def _columns_of(row: np.ndarray, step: float) -> np.ndarray:
    """Return how many columns the rows have, int64 `[N]`."""
    around = 2 * np.pi * EARTH_RADIUS * np.cos(np.radians(_latitude(row, step)))
    return np.maximum(np.ceil(around / step), 1).astype(np.int64)
