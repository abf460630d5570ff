"""Where pictures are taken: places on the roads, spread over a scene."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas
from .scene import Camera
from .streets import Streets

MARGIN = 80.0  # metres that every camera keeps from the scene's edge: as far as a panorama sees
SKIES = 4  # skies of one scene
_SPACINGS = (20.0, 16.0, 12.0, 8.0, 5.0, 3.0)  # metres between cameras, tried in this order until enough are found
_TRIES = 4000  # random places tried at each spacing


class NoRoomError(ValueError):
    """A scene has too few roads for the cameras that were asked for."""


def choose_cameras(
    canvas: Canvas, streets: Streets, count: int, rng: np.random.Generator, margin: float = MARGIN
) -> tuple[Camera, ...]:
    """Choose places on the roads, outside of houses and cars, as far apart as possible; return them in random order.

    Raises:
        NoRoomError: the roads have no room for so many.
    """
    corners = np.zeros((0, 2), np.intp)
    for spacing in _SPACINGS:
        candidates = _free_corners(canvas, streets, rng, margin)
        corners = _thin_out(corners, candidates, spacing / canvas.cell, count)
        if len(corners) == count:
            return tuple(Camera(int(row), int(column), int(rng.integers(SKIES))) for row, column in corners)
    raise NoRoomError(f"This scene has room for {len(corners)} cameras on its roads only, {count} were asked for.")


def _free_corners(canvas: Canvas, streets: Streets, rng: np.random.Generator, margin: float) -> np.ndarray:
    """Draw random cell corners on the carriageway with nothing standing there, int64 `[K, 2]` (row, column)."""
    reach = canvas.size / 2 - margin - canvas.cell
    metres = canvas.size / 2 + reach * (2 * rng.random((_TRIES, 2)) - 1)
    corners = np.rint(metres / canvas.cell).astype(np.intp)
    row, column = corners.T
    return corners[(streets.edge[row, column] < -0.8) & (canvas.height[row, column] == 0)]


def _thin_out(kept: np.ndarray, candidates: np.ndarray, spacing: float, count: int) -> np.ndarray:
    """Return the kept corners `[K, 2]`, and of the candidates those that are `spacing` cells from all before."""
    corners = np.empty((count, 2), np.intp)
    size = len(kept)
    corners[:size] = kept
    for corner in candidates:
        if size == count:
            break
        if size == 0 or ((corners[:size] - corner) ** 2).sum(axis=1).min() >= spacing**2:
            corners[size] = corner
            size += 1
    return corners[:size]
