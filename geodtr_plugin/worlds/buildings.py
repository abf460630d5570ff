"""Buildings: footprints, flat and pitched roofs, and the table from which facades are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from .canvas import Canvas, Kind, Surface, height_steps
from .lots import Lots
from .styles import HouseStyle

PLACE_STEP = 0.25  # metres along a wall that one step of `facade_place` stands for
_STOREY = 3.0  # metres
_TALLEST = 58.0  # metres: keeps roofs within a uint8 of height
_GLASS = np.array([(60, 70, 85), (40, 45, 55), (95, 115, 135)], np.float32)


_NOTHING = np.zeros((1, 12), np.float32)


class Facade(IntEnum):
    """Columns of the building table, float32 `[B, 12]`, whose row 0 stands for no building. Lengths in metres."""

    WALL = 0  # height of the walls
    PITCH = 1  # between windows
    WINDOW = 2  # width of a window
    SILL = 3  # height of the windows' sill in their storey
    STOREY = 4
    SHOP = 5  # 1 where the ground floor is a shop front
    COLOUR = 6  # three columns
    GLASS = 9  # three columns


@dataclass(frozen=True)
class _Plot:
    """The window of the rasters around one building, in coordinates along and across its road."""

    at: tuple[slice, slice]
    p: np.ndarray  # metres across, positive away from the road
    t: np.ndarray  # metres along the road
    a: float  # half depth
    b: float  # half width
    across: tuple[float, float]  # unit vector (east, south) of p
    hall: bool

    @property
    def inside(self) -> np.ndarray:
        """Cells of the building's rectangle, bool."""
        return (np.abs(self.p) < self.a) & (np.abs(self.t) < self.b)


def draw_buildings(
    canvas: Canvas, lots: Lots, style: HouseStyle, sun: tuple[float, float], walk: tuple, rng: np.random.Generator,
    table: np.ndarray = _NOTHING,
) -> np.ndarray:  # fmt: skip
    """Build on every lot that is still free, and return the building table, float32 `[B, 12]` (see `Facade`).

    Args:
        canvas: rasters that are drawn into.
        lots: where houses may stand.
        style: looks of the houses.
        sun: unit vector (east, south) towards the sun.
        walk: colour of driveways.
        rng: source of all that is random.
        table: float32 `[A, 12]`, what has been built before.
    """
    rows = list(table)
    driveway = canvas.add(0.9 * np.array(walk), Surface.WALK)
    for number in range(len(lots.x)):
        plot = _plot(canvas, lots, number)
        footprint = _footprint(plot, rng)
        if canvas.blocked[plot.at][footprint].any():
            continue
        if style.setback[0] > 3 and rng.random() < 0.6:
            _pave_driveway(canvas, plot, driveway)
        rows.append(_build(canvas, plot, footprint, len(rows), style, sun, rng))
    return np.stack(rows)


def _plot(canvas: Canvas, lots: Lots, number: int) -> _Plot:
    x, y = float(lots.x[number]), float(lots.y[number])
    a, b = float(lots.half_depth[number]), float(lots.half_width[number])
    east, south = (float(value) for value in lots.across[number])
    at, p, t = canvas.patch(x, y, math.hypot(a, b) + 1.0, (east, south))
    return _Plot(at, p, t, a, b, (east, south), bool(lots.hall[number]))


def _footprint(plot: _Plot, rng: np.random.Generator) -> np.ndarray:
    """Return the mask of a house on its plot, bool: a rectangle, or three times in ten an L."""
    draw, side_p, side_t = rng.random(3)
    mask = plot.inside
    if draw < 0.3:
        p = plot.p if side_p < 0.5 else -plot.p
        t = plot.t if side_t < 0.5 else -plot.t
        mask &= ~((p > 0.15 * plot.a) & (t > 0.2 * plot.b))
    return mask


def _pave_driveway(canvas: Canvas, plot: _Plot, material: int) -> None:
    """Pave from the front of the house to the sidewalk; the house is drawn over the driveway's end."""
    strip = (np.abs(plot.t - 0.6 * plot.b) < 1.5) & (plot.p < 0) & ~canvas.blocked[plot.at]
    canvas.material[plot.at][strip] = material


def _build(
    canvas: Canvas, plot: _Plot, footprint: np.ndarray, number: int, style: HouseStyle, sun: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Draw one building into the rasters, and return its row of the table, float32 `[12]`."""
    tower = rng.random() < style.towers
    storeys = rng.integers(*(style.tower_storeys if tower else style.storeys), endpoint=True)
    wall = min(storeys * _STOREY + 0.6, _TALLEST)
    if not tower and rng.random() < style.gabled and not plot.hall:
        height, shade, side, facing = _pitched_roof(plot, wall, rng)
        canvas.roof[plot.at][footprint] = side[footprint]
    else:
        height, shade = _flat_roof(plot, wall, rng)
        facing = (0.0, 0.0)
    canvas.facings.append(facing)
    roof = style.roofs[rng.integers(len(style.roofs))]
    canvas.material[plot.at][footprint] = canvas.add(_varied(roof, 0.10, rng), Surface.ROOF)
    canvas.shade[plot.at][footprint] = shade[footprint]
    canvas.height[plot.at][footprint] = height_steps(height[footprint])
    canvas.kind[plot.at][footprint] = Kind.BUILDING
    canvas.building[plot.at][footprint] = number
    canvas.blocked[plot.at][footprint] = True
    _mark_walls(canvas, plot, footprint, sun)
    return _facade_row(wall, style, rng)


def _varied(colour: tuple, spread: float, rng: np.random.Generator) -> np.ndarray:
    return np.array(colour) * (1 + spread * rng.standard_normal()) + 5 * rng.standard_normal(3)


def _pitched_roof(plot: _Plot, wall: float, rng: np.random.Generator) -> tuple:
    """Draw two slopes whose ridge runs along the longer side.

    Returns:
        Heights in metres, brightness in even light, which side a cell is on (1 or 2), and the unit vector (east, south)
        that side 1 faces.
    """
    east, south = plot.across
    if plot.b >= plot.a:
        half, side, facing = plot.a, plot.p, (east, south)
    else:
        half, side, facing = plot.b, plot.t, (-south, east)
    height = wall + (half - np.abs(side)) * rng.uniform(0.45, 0.8)
    courses = 1 + 0.05 * np.sign(np.sin(side * 9))
    return height, courses, np.where(side > 0, np.uint8(1), np.uint8(2)), facing


def _flat_roof(plot: _Plot, wall: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return height (metres) and brightness of a flat roof with a bright rim and a few boxes."""
    shade = np.ones_like(plot.p)
    height = np.full_like(plot.p, wall)
    for x, y, size, dark in rng.random((rng.integers(5), 4)):
        box = (np.abs(plot.p - (1.4 * x - 0.7) * plot.a) < 0.7 + 1.5 * size) & (
            np.abs(plot.t - (1.4 * y - 0.7) * plot.b) < 0.9 + 1.9 * size
        )
        shade[box] = 0.6 if dark < 0.5 else 1.35
        height[box] += 1.2
    shade[np.maximum(np.abs(plot.p) - plot.a, np.abs(plot.t) - plot.b) > -0.6] = 1.18
    return height, shade


def _mark_walls(canvas: Canvas, plot: _Plot, footprint: np.ndarray, sun: tuple[float, float]) -> None:
    """Store, for each cell, the place along the wall that is nearest to it, and the light on that wall."""
    east, south = plot.across
    front = np.abs(plot.p) - plot.a > np.abs(plot.t) - plot.b
    place = (np.where(front, plot.t, plot.p) + 32.0) / PLACE_STEP
    normal_x = np.where(front, east * np.sign(plot.p), -south * np.sign(plot.t))
    normal_y = np.where(front, south * np.sign(plot.p), east * np.sign(plot.t))
    light = 170 + 62 * (normal_x * sun[0] + normal_y * sun[1])
    canvas.facade_place[plot.at][footprint] = (place[footprint].astype(np.int32) & 255).astype(np.uint8)
    canvas.facade_light[plot.at][footprint] = light[footprint].astype(np.uint8)


def _facade_row(wall: float, style: HouseStyle, rng: np.random.Generator) -> np.ndarray:
    """Return one row of the building table, float32 `[12]`."""
    row = np.zeros(12, np.float32)
    row[Facade.WALL], row[Facade.STOREY] = wall, _STOREY
    row[Facade.PITCH] = rng.uniform(2.2, 3.6)
    row[Facade.WINDOW] = rng.uniform(0.8, 1.7)
    row[Facade.SILL] = rng.uniform(0.7, 1.0)
    row[Facade.SHOP] = rng.random() < 0.25
    colour = style.facades[rng.integers(len(style.facades))]
    row[Facade.COLOUR : Facade.COLOUR + 3] = np.clip(_varied(colour, 0.08, rng), 0, 255)
    row[Facade.GLASS : Facade.GLASS + 3] = _GLASS[rng.integers(len(_GLASS))]
    return row


def clear_lots(canvas: Canvas, before: Canvas, gone: np.ndarray) -> None:
    """Take buildings away: their lots look as they did `before`; `gone` is bool `[B]`, by the building's number."""
    place = np.flatnonzero(canvas.building)
    place = place[gone.take(canvas.building.ravel().take(place))]
    for name in ("material", "shade"):
        getattr(canvas, name).ravel()[place] = getattr(before, name).ravel()[place]
    for name in ("height", "kind", "building", "roof"):
        getattr(canvas, name).ravel()[place] = 0
