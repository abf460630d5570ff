"""Cars: some stand there for both cameras, some for one only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Kind, height_steps
from .ground import STALL, Block, Ground
from .streets import Streets
from .styles import StreetStyle

_PAINTS = ((200, 200, 205), (40, 40, 45), (150, 30, 30), (40, 60, 120), (120, 125, 130), (235, 235, 235))
_GLASS = (45, 50, 60)
_TRY_AREA = 40.0  # square metres for each try to place a car
_HALF = (0.95, 2.2)  # half a car's width and length, metres
_ROOF, _BONNET = 1.5, 1.0  # heights, metres
_MOST = 120  # cars in parking lots, about: each costs time
_LANE = (-3.0, -1.8)  # metres from the edge at which cars drive


@dataclass(frozen=True)
class _Spots:
    """Where cars may be, one entry each.

    Attributes:
        x, y: metres east and south of the scene's centre.
        family: whose roads the car is parallel to.
        paint: number of its colour.
        seen: 0..1: below `transient` only the ground camera sees it, above 1 - `transient` only the aerial camera.
    """

    x: np.ndarray
    y: np.ndarray
    family: np.ndarray
    paint: np.ndarray
    seen: np.ndarray


def draw_cars(
    canvas: Canvas, above: Canvas, streets: Streets, ground: Ground, style: StreetStyle, transient: float,
    rng: np.random.Generator, more: np.random.Generator,
) -> None:  # fmt: skip
    """Park cars along the kerbs and in parking lots, and let others drive.

    Args:
        canvas, above: get what the ground camera and the aerial camera see.
        streets: the roads.
        ground: says where parking lots are.
        style: how many cars there are.
        transient: share of the parked cars that only the ground camera sees, and again the aerial camera.
        rng: source of the cars at the kerb.
        more: source of all other cars.
    """
    glass, paints = canvas.add(_GLASS), canvas.add(_PAINTS)
    for spots in (_at_kerbs(canvas, streets, style.cars, rng), _in_lots(canvas, streets, ground, style.parked, more)):
        _place(canvas, above, streets, spots, transient, paints, glass)
    _place(canvas, above, streets, _in_traffic(canvas, streets, style.traffic, more), 0.5, paints, glass)


def _at_kerbs(canvas: Canvas, streets: Streets, share: float, rng: np.random.Generator) -> _Spots:
    x, y, taken, paint, seen, edge = _tries(canvas, streets, rng)
    return _parallel(canvas, streets, x, y, paint, seen, (edge < -0.9) & (edge > -1.8) & (taken < share))


def _in_traffic(canvas: Canvas, streets: Streets, share: float, rng: np.random.Generator) -> _Spots:
    x, y, taken, paint, seen, edge = _tries(canvas, streets, rng)
    return _parallel(canvas, streets, x, y, paint, seen, (edge > _LANE[0]) & (edge < _LANE[1]) & (taken < share))


def _tries(canvas: Canvas, streets: Streets, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw random places `[N]`: x, y, whether a car is there, its paint, who sees it; and metres to a road's edge."""
    tries = int(canvas.size**2 / _TRY_AREA)
    reach = canvas.size / 2 - 4.0
    x, y = reach * (2 * rng.random((2, tries)) - 1)
    taken, paint, seen = rng.random(tries), rng.integers(len(_PAINTS), size=tries), rng.random(tries)
    return x, y, taken, paint, seen, streets.edge[canvas.index(y), canvas.index(x)]


def _parallel(canvas: Canvas, streets: Streets, x, y, paint, seen, chosen: np.ndarray) -> _Spots:
    """Return the chosen spots, parallel to the nearest road."""
    x, y, paint, seen = (values[chosen] for values in (x, y, paint, seen))
    at = canvas.index(y), canvas.index(x)
    family = (streets.families[1].edge[at] < streets.families[0].edge[at]).astype(int)
    return _Spots(x, y, family, paint, seen)


def _in_lots(canvas: Canvas, streets: Streets, ground: Ground, share: float, rng: np.random.Generator) -> _Spots:
    """Draw cars in the stalls of parking lots (see `ground`)."""
    width, length, apart = STALL
    lot = np.flatnonzero((ground.uses == Block.PAVED) & (streets.edge > 7.0)) if share else np.zeros(0, np.intp)
    for roads, every, middle in zip(streets.families, (width, apart), (width / 2, length / 2)):
        lot = lot[np.abs(roads.coordinate.ravel().take(lot) % np.float32(every) - middle) < canvas.cell / 2]
    lot = lot[rng.random(len(lot)) < min(share, _MOST / max(len(lot), 1))]
    x, y = canvas.x[lot % canvas.n], canvas.y[lot // canvas.n]
    inside = np.maximum(np.abs(x), np.abs(y)) < canvas.size / 2 - 4.0
    x, y = x[inside], y[inside]
    return _Spots(x, y, np.zeros(len(x), int), rng.integers(len(_PAINTS), size=len(x)), rng.random(len(x)))


def _place(
    canvas: Canvas, above: Canvas, streets: Streets, spots: _Spots, transient: float, paints: int, glass: int
) -> None:
    """Draw the cars that find their spot free."""
    for x, y, family, paint, seen in zip(spots.x, spots.y, spots.family, spots.paint, spots.seen):
        at, across, along = _axes(canvas, streets, float(x), float(y), int(family))
        body = (np.abs(across) < _HALF[0]) & (np.abs(along) < _HALF[1])
        window = body & (np.abs(np.abs(along) - 1.0) < 0.35)
        if _is_taken(canvas, streets, at, body):
            continue
        if seen >= transient:
            _paint(above.material[at], body, window, paints + paint, glass)
        if seen < 1 - transient:
            _paint(canvas.material[at], body, window, paints + paint, glass)
            roof = np.abs(along[body] + 0.2) < 1.3
            canvas.height[at][body] = height_steps(np.where(roof, _ROOF, _BONNET))
            canvas.kind[at][body] = Kind.CAR


def _axes(canvas: Canvas, streets: Streets, x: float, y: float, family: int) -> tuple:
    """Return a car's window of the rasters, and metres across and along it."""
    return canvas.patch(x, y, 2.8, streets.normal(family, canvas.index(y), canvas.index(x)))


def _is_taken(canvas: Canvas, streets: Streets, at: tuple, body: np.ndarray) -> bool:
    """Tell whether something stands there, or half of the car would be on a road and half beside it."""
    outside = streets.edge[at][body] > 0
    return bool((canvas.height[at][body] > 0).any() or (outside.any() and not outside.all()))


def _paint(material: np.ndarray, body: np.ndarray, window: np.ndarray, paint: int, glass: int) -> None:
    material[body] = paint
    material[window] = glass
