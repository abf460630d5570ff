"""Cars: some stand there for both cameras, some for one only."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Kind, height_steps
from .streets import Streets

_PAINTS = ((200, 200, 205), (40, 40, 45), (150, 30, 30), (40, 60, 120), (120, 125, 130), (235, 235, 235))
_GLASS = (45, 50, 60)
_TRY_AREA = 40.0  # square metres for each try to place a car
_HALF = (0.95, 2.2)  # half a car's width and length, metres
_ROOF, _BONNET = 1.5, 1.0  # heights, metres


def draw_cars(
    canvas: Canvas, above: Canvas, streets: Streets, share: float, transient: float, rng: np.random.Generator
) -> None:
    """Park cars along the kerbs.

    Args:
        canvas, above: get what the ground camera and the aerial camera see.
        streets: the roads.
        share: share of the possible places that are taken.
        transient: share of the cars that only the ground camera sees, and again that only the aerial camera sees.
        rng: source of all that is random.
    """
    glass, paints = canvas.add(_GLASS), canvas.add(_PAINTS)
    tries = int(canvas.size**2 / _TRY_AREA)
    reach = canvas.size / 2 - 4.0
    x, y = reach * (2 * rng.random((2, tries)) - 1)
    taken, paint, seen = rng.random(tries), rng.integers(len(_PAINTS), size=tries), rng.random(tries)
    edge = streets.edge[canvas.index(y), canvas.index(x)]
    for car in np.flatnonzero((edge < -0.9) & (edge > -1.8) & (taken < share)):
        at, body, window, along = _outline(canvas, streets, float(x[car]), float(y[car]))
        if (streets.edge[at][body] > 0).any() or (canvas.kind[at][body] != Kind.GROUND).any():
            continue
        if seen[car] >= transient:
            _paint(above.material[at], body, window, paints + paint[car], glass)
        if seen[car] < 1 - transient:
            _paint(canvas.material[at], body, window, paints + paint[car], glass)
            roof = np.abs(along[body] + 0.2) < 1.3
            canvas.height[at][body] = height_steps(np.where(roof, _ROOF, _BONNET))
            canvas.kind[at][body] = Kind.CAR


def _outline(canvas: Canvas, streets: Streets, x: float, y: float) -> tuple:
    """Return a car's window of the rasters, the masks of its body and windows, and metres along it."""
    i, j = canvas.index(y), canvas.index(x)
    family = int(streets.families[1].edge[i, j] < streets.families[0].edge[i, j])
    at, across, along = canvas.patch(x, y, 2.8, streets.normal(family, i, j))
    body = (np.abs(across) < _HALF[0]) & (np.abs(along) < _HALF[1])
    return at, body, body & (np.abs(np.abs(along) - 1.0) < 0.35), along


def _paint(material: np.ndarray, body: np.ndarray, window: np.ndarray, paint: int, glass: int) -> None:
    material[body] = paint
    material[window] = glass
