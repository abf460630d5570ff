"""Trees and hedges."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Kind, Surface, height_steps
from .crowns import SIZES, Trees, draw_crowns, radii
from .ground import Ground
from .noise import smooth_noise
from .streets import Streets
from .styles import PlantStyle, Style

_BARK = (85, 65, 50)
_TRUNK = 0.3  # metres
_HEDGE = 1.25  # height of hedges, metres
_VERGE_CELL = 90.0  # square metres of land for each try to plant a tree beside a road
_WOODS = 0.06  # trees for each square metre of a wood of density 1


def draw_hedges(canvas: Canvas, streets: Streets, ground: Ground, style: Style, rng: np.random.Generator) -> None:
    """Plant hedges along the fronts of lots, where the smooth noise is high."""
    front = streets.edge - np.float32(style.streets.sidewalk)
    place = np.flatnonzero((front > 0.6) & (front < 1.3) & ~canvas.blocked)
    place = place[ground.patches.ravel().take(place) > 1.2 - 3 * style.plants.hedges]
    leaf = np.array(style.plants.colours[0]) * 0.45 + (25, 48, 16)
    canvas.material.ravel()[place] = canvas.add(leaf, Surface.LEAF)
    canvas.shade.ravel()[place] = 0.8 + 0.4 * rng.random(len(place), dtype=np.float32)
    canvas.height.ravel()[place] = height_steps(_HEDGE)
    canvas.kind.ravel()[place] = Kind.HEDGE


def draw_trees(
    canvas: Canvas, streets: Streets, style: Style, rng: np.random.Generator, fates: np.random.Generator
) -> Trees:
    """Plant scattered trees, woods, and trees along the roads; `fates` draws what only seasons show (see `Trees`)."""
    rows, columns = _places(canvas, streets, style, rng)
    size = rng.integers(SIZES, size=len(rows))
    conifer = rng.random(len(rows)) < style.plants.conifers
    palette = np.array(style.plants.colours, np.float32)
    tint = palette[rng.integers(len(palette), size=len(rows))] * (1 + 0.13 * rng.standard_normal((len(rows), 1)))
    fate = fates.random((len(rows), 4), dtype=np.float32)
    trees = Trees(rows, columns, radii(style.plants)[size], conifer, tint.astype(np.float32), fate)
    draw_crowns(canvas, trees)
    _plant_trunks(canvas, rows, columns)
    return trees


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
