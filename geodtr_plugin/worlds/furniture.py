"""What stands in and beside the roads: poles, and road works."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Kind, Surface, height_steps
from .streets import Streets
from .styles import StreetStyle

_WOOD, _STEEL = (105, 92, 80), (150, 152, 155)
_POLE = (6.0, 9.5)  # height, metres
_BETWEEN = (25.0, 45.0)  # metres from pole to pole
_KERB = 0.5  # metres from the road's edge to the poles
_WORKS = (8.0, 25.0)  # length of road works, metres
_EARTH = (140, 115, 90)
_BARRIERS = ((225, 110, 40), (235, 235, 230), (200, 50, 40))
_BARRIER = 1.0  # height, metres


def put_up_poles(canvas: Canvas, streets: Streets, style: StreetStyle, rng: np.random.Generator) -> None:
    """Put up poles along one side of some roads."""
    near = np.flatnonzero((streets.edge > _KERB) & (streets.edge < _KERB + 1.3 * canvas.cell) & (canvas.height == 0))
    quadrant, first = streets.quadrant.ravel().take(near), streets.on_first(near)
    lined = [rng.choice([-1, 0, 1], len(roads.centres), p=_sides(style.poles)) for roads in streets.families]
    side = np.where(first, *(streets.by_road(family, lined[family]).take(quadrant) for family in (0, 1)))
    offset = np.where(first, *(roads.offset.ravel().take(near) for roads in streets.families))
    along = np.where(first, *(roads.coordinate.ravel().take(near) for roads in streets.families[::-1]))
    place = near[(side * offset > 0) & (along % np.float32(rng.uniform(*_BETWEEN)) < canvas.cell)]
    canvas.material.ravel()[place] = canvas.add(_WOOD if rng.random() < 0.5 else _STEEL, Surface.UPRIGHT)
    canvas.height.ravel()[place] = height_steps(rng.uniform(*_POLE))
    canvas.kind.ravel()[place] = Kind.TRUNK


def _sides(share: float) -> list[float]:
    return [share / 2, 1 - share, share / 2]


def dig_up_roads(canvas: Canvas, streets: Streets, count: int, rng: np.random.Generator) -> None:
    """Dig up half the width of the road in some places, behind barriers."""
    earth, barriers = canvas.add(_EARTH, Surface.ROAD), canvas.add(_BARRIERS, Surface.UPRIGHT)
    candidates = np.flatnonzero((streets.edge < -1.5) & (canvas.height == 0))
    for cell in rng.choice(candidates, count):
        row, column = divmod(int(cell), canvas.n)
        family = 0 if streets.on_first(cell) else 1
        half, side = rng.uniform(*_WORKS) / 2, rng.choice([-1, 1])
        normal = streets.normal(family, np.array(row), np.array(column))
        at, across, along = canvas.patch(float(canvas.x[column]), float(canvas.y[row]), half + 1, normal)
        inside = (side * across > -0.5) & (np.abs(along) < half) & (streets.edge[at] < -0.2) & (canvas.height[at] == 0)
        ends = inside & (half - np.abs(along) < 0.5)
        canvas.material[at][inside] = earth
        canvas.material[at][ends] = barriers + rng.integers(len(_BARRIERS))
        canvas.height[at][ends] = height_steps(_BARRIER)
        canvas.kind[at][ends] = Kind.HEDGE
