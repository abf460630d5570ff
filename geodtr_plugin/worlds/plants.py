"""Trees and hedges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Kind, height_steps
from .ground import Ground
from .noise import smooth_noise
from .streets import Streets
from .styles import PlantStyle, Style

_SIZES = 8  # different crown radii: crowns of one size share a stamp
_BARK = (85, 65, 50)
_TRUNK = 0.3  # metres
_HEDGE = 1.25  # height of hedges, metres
_VERGE_CELL = 90.0  # square metres of land for each try to plant a tree beside a road
_WOODS = 0.06  # trees for each square metre of a wood of density 1


@dataclass(frozen=True)
class _Stamp:
    """All cells of a crown of one size: offsets in cells, extent in metres, profile 0 at the rim to 1 in the middle."""

    rows: np.ndarray
    columns: np.ndarray
    profile: np.ndarray
    top: np.ndarray
    base: np.ndarray
    radius: float


def draw_hedges(canvas: Canvas, streets: Streets, ground: Ground, style: Style, rng: np.random.Generator) -> None:
    """Plant hedges along the fronts of lots, where the smooth noise is high."""
    front = streets.edge - np.float32(style.streets.sidewalk)
    place = np.flatnonzero((front > 0.6) & (front < 1.3) & ~canvas.blocked)
    place = place[ground.patches.ravel().take(place) > 1.2 - 3 * style.plants.hedges]
    leaf = np.array(style.plants.colours[0]) * 0.45 + (25, 48, 16)
    canvas.material.ravel()[place] = canvas.add(leaf)
    canvas.shade.ravel()[place] = 0.8 + 0.4 * rng.random(len(place), dtype=np.float32)
    canvas.height.ravel()[place] = height_steps(_HEDGE)
    canvas.kind.ravel()[place] = Kind.HEDGE


def draw_trees(
    canvas: Canvas, streets: Streets, ground: Ground, style: Style, sun: tuple, rng: np.random.Generator
) -> None:
    """Plant scattered trees, woods, and trees along the roads; `sun` is the unit vector (east, south) to the sun."""
    rows, columns = _places(canvas, streets, style, rng)
    size = rng.integers(_SIZES, size=len(rows))
    conifer = rng.random(len(rows)) < style.plants.conifers
    palette = np.array(style.plants.colours, np.float32)
    tint = palette[rng.integers(len(palette), size=len(rows))] * (1 + 0.13 * rng.standard_normal((len(rows), 1)))
    leaves = 1 + np.float32(0.10) * ground.fine + np.float32(0.13) * ground.grain
    low, high = style.plants.radius
    crowns = []
    for number in range(2 * _SIZES):
        stamp = _stamp(canvas.cell, low + (high - low) * (number // 2 + 0.5) / _SIZES, bool(number % 2))
        chosen = np.flatnonzero((size == number // 2) & (conifer == bool(number % 2)))
        crowns.append(_stamp_out(canvas, stamp, rows[chosen], columns[chosen], tint[chosen], leaves, sun))
    _merge(canvas, crowns)
    _plant_trunks(canvas, rows, columns)


def _places(canvas: Canvas, streets: Streets, style: Style, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows and columns of the trees."""
    plants = style.plants
    area = canvas.size**2
    density = plants.trees + _WOODS * plants.forest
    wood = smooth_noise(rng, canvas.size, canvas.n, 70.0) > 1.1
    rows, columns = _scatter(canvas, rng.poisson(area * density), plants, rng)
    kept = wood[rows, columns] | (rng.random(len(rows)) < plants.trees / density)
    kept &= streets.edge[rows, columns] > 0.8
    verge_rows, verge_columns = _scatter(canvas, int(area / _VERGE_CELL), plants, rng)
    edge = streets.edge[verge_rows, verge_columns]
    verge = (edge > 0.6) & (edge < style.streets.sidewalk + 1.2) & (rng.random(len(edge)) < plants.verge)
    rows, columns = (
        np.concatenate([rows[kept], verge_rows[verge]]),
        np.concatenate([columns[kept], verge_columns[verge]]),
    )
    free = ~canvas.blocked[rows, columns]
    return rows[free], columns[free]


def _scatter(canvas: Canvas, count: int, plants: PlantStyle, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows and columns of uniform places whose crowns stay inside the scene."""
    reach = canvas.size / 2 - plants.radius[1] - 1.0
    x, y = reach * (2 * rng.random((2, count)) - 1)
    return canvas.index(y), canvas.index(x)


def _stamp(cell: float, radius: float, conifer: bool) -> _Stamp:
    """Return the stamp of a cone, or of a round crown that is thicker in the middle both upwards and downwards."""
    reach = int(radius / cell) + 1
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    distance = np.hypot(rows, columns) * (cell / radius)
    inside = distance < 1
    rows, columns, distance = rows[inside], columns[inside], distance[inside]
    profile = 1 - distance if conifer else np.sqrt(1 - distance**2)
    base = 1.0 if conifer else 2.0 + 0.12 * radius
    height = (2.6 if conifer else 1.8) * radius
    droop = 0.0 if conifer else 0.25
    return _Stamp(
        rows,
        columns,
        profile.astype(np.float32),
        base + 0.3 + height * (droop + (1 - droop) * profile),
        base + height * droop * (1 - profile),
        radius,
    )


def _stamp_out(canvas, stamp, rows, columns, tint, leaves, sun) -> tuple[np.ndarray, ...]:
    """Return the crowns' cells, crown by crown: flat index, top and base (steps of HEIGHT_STEP) and colour."""
    place = (rows * canvas.n + columns)[:, None] + (stamp.rows * canvas.n + stamp.columns)[None, :]
    shape = place.shape
    slope = (stamp.columns * sun[0] + stamp.rows * sun[1]) * (canvas.cell * 0.22 / stamp.radius)
    light = ((1 + slope) * (0.75 + 0.35 * stamp.profile)).astype(np.float32)
    light = (light[None, :] * leaves.ravel().take(place)).ravel()
    colour = np.repeat(tint.astype(np.float32), shape[1], axis=0) * light[:, None]
    top, base = (np.broadcast_to(height_steps(value), shape).ravel() for value in (stamp.top, stamp.base))
    return place.ravel(), top, base, np.clip(colour, 0, 255).astype(np.uint8)


def _merge(canvas: Canvas, crowns: list[tuple[np.ndarray, ...]]) -> None:
    """Draw all crowns; where they overlap, the higher one is kept, and roofs stay free."""
    place, top, base, colour = (np.concatenate(parts) for parts in zip(*crowns))
    order = np.argsort(top, kind="stable")  # of repeated indices, numpy keeps the value that is assigned last
    order = order[canvas.kind.ravel().take(place[order]) != Kind.BUILDING]
    place = place[order]
    canvas.canopy_top.ravel()[place] = top[order]
    canvas.canopy_base.ravel()[place] = base[order]
    canvas.canopy.reshape(-1, 3)[place] = colour[order]


def _plant_trunks(canvas: Canvas, rows: np.ndarray, columns: np.ndarray) -> None:
    """Draw a trunk under every crown, up to the crown's base."""
    bark = canvas.add(_BARK)
    width = max(1, round(_TRUNK / canvas.cell))
    for step in range(width * width):
        place = (rows + step // width) * canvas.n + columns + step % width
        place = place[(canvas.kind.ravel().take(place) == Kind.GROUND) & (canvas.canopy_top.ravel().take(place) > 0)]
        canvas.height.ravel()[place] = canvas.canopy_base.ravel().take(place) + 2
        canvas.kind.ravel()[place] = Kind.TRUNK
        canvas.material.ravel()[place] = bark
        canvas.shade.ravel()[place] = 1.0
