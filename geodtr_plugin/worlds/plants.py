"""Trees and hedges."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Kind, Surface, height_steps
from .crowns import SIZES, Form, Trees, draw_crowns, lift_crowns, radii
from .ground import Ground
from .noise import smooth_noise
from .streets import Streets
from .styles import PlantStyle, Style

_BARK = (85, 65, 50)
_TRUNK = 0.3  # metres
_HEDGE = 1.25  # height of hedges, metres
_FENCES = ((120, 100, 80), (228, 228, 222), (150, 148, 142), (165, 130, 100))
_VERGE_CELL = 90.0  # square metres of land for each try to plant a tree beside a road
_WOODS = 0.06  # trees for each square metre of a wood of density 1
_TRAFFIC = 0.3  # metres beyond a road's edge up to which crowns leave room for traffic
_AVENUE = 1.0  # metres from a road's edge to the trees of an avenue
_APART = 2.2  # distance between them, crown radii
_KEPT = 0.7  # share of an avenue's trees that still stand
_BUSH = (0.6, 0.9, 1.3)  # radii of bushes, metres


def draw_hedges(
    canvas: Canvas, streets: Streets, ground: Ground, style: Style, rng: np.random.Generator, more: np.random.Generator
) -> None:
    """Plant hedges along the fronts of lots, where the smooth noise is high; `more` draws where they are fences."""
    front = streets.edge - np.float32(style.streets.margin)
    place = np.flatnonzero((front > 0.6) & (front < 1.3) & ~canvas.blocked)
    place = place[ground.patches.ravel().take(place) > 1.2 - 3 * style.plants.hedges]
    leaf = np.array(style.plants.colours[0]) * 0.45 + (25, 48, 16)
    canvas.material.ravel()[place] = canvas.add(leaf, Surface.LEAF)
    canvas.shade.ravel()[place] = 0.8 + 0.4 * rng.random(len(place), dtype=np.float32)
    canvas.height.ravel()[place] = height_steps(_HEDGE)
    canvas.kind.ravel()[place] = Kind.HEDGE
    fences = canvas.add(_FENCES, Surface.UPRIGHT) - 1
    kind = streets.by_block(more.integers(1, len(_FENCES) + 1, streets.blocks))
    kind *= streets.by_block(more.random(streets.blocks) < style.plants.fences)
    kind = kind.take(streets.quadrant.ravel().take(place))
    canvas.material.ravel()[place[kind > 0]] = fences + kind[kind > 0]


def draw_trees(
    canvas: Canvas, streets: Streets, style: Style, rng: np.random.Generator, more: np.random.Generator
) -> Trees:
    """Plant scattered trees, woods, and trees along the roads.

    Args:
        canvas: rasters that are drawn into.
        streets: the roads.
        style: looks of the trees.
        rng: source of all that is random, but for:
        more: source of what only wide styles have, and of the trees' fates (see `Trees`).
    """
    rows, columns = _places(canvas, streets, style, rng)
    size = rng.integers(SIZES, size=len(rows))
    form = np.where(rng.random(len(rows)) < style.plants.conifers, Form.CONE, Form.ROUND)
    tint = _tints(len(rows), style.plants, rng)
    trees = _planted(rows, columns, radii(style.plants)[size], form, tint, more)
    trees = trees.joined(_avenues(canvas, streets, style.plants, more)).joined(
        _bushes(canvas, streets, style.plants, more)
    )
    draw_crowns(canvas, trees, style.plants.stretch)
    _plant_trunks(canvas, trees, style.plants.stems)
    if style.plants.clearance:
        lift_crowns(canvas, streets.edge < _TRAFFIC, style.plants.clearance)
    return trees


def _tints(count: int, plants: PlantStyle, rng: np.random.Generator) -> np.ndarray:
    palette = np.array(plants.colours, np.float32)
    return palette[rng.integers(len(palette), size=count)] * (1 + 0.13 * rng.standard_normal((count, 1)))


def _planted(rows, columns, radius, form, tint, rng: np.random.Generator) -> Trees:
    fate = rng.random((len(rows), 4), dtype=np.float32)
    return Trees(rows, columns, radius, np.asarray(form, np.int8), tint.astype(np.float32), fate)


def _avenues(canvas: Canvas, streets: Streets, plants: PlantStyle, rng: np.random.Generator) -> Trees:
    """Draw rows of trees of one kind along both edges of some roads."""
    lined = [rng.random(len(roads.centres)) < plants.avenues for roads in streets.families]
    near = np.flatnonzero((streets.edge > _AVENUE) & (streets.edge < _AVENUE + 1.2 * canvas.cell))
    quadrant, first = streets.quadrant.ravel().take(near), streets.on_first(near)
    chosen = np.where(first, *(streets.by_road(family, lined[family]).take(quadrant) for family in (0, 1)))
    along = np.where(first, *(streets.families[1 - family].coordinate.ravel().take(near) for family in (0, 1)))
    radius = radii(plants)[SIZES // 2]
    place = near[chosen & (along % np.float32(_APART * radius) < canvas.cell)]
    inside = canvas.size / 2 - plants.radius[1] - 1.0
    place = place[np.maximum(np.abs(canvas.x[place % canvas.n]), np.abs(canvas.y[place // canvas.n])) < inside]
    place = place[(rng.random(len(place)) < _KEPT) & ~canvas.blocked.ravel().take(place)]
    tint = _tints(1, plants, rng) * (1 + 0.08 * rng.standard_normal((len(place), 1)))
    return _planted(
        place // canvas.n, place % canvas.n, np.full(len(place), radius), np.full(len(place), Form.ROUND), tint, rng
    )


def _bushes(canvas: Canvas, streets: Streets, plants: PlantStyle, rng: np.random.Generator) -> Trees:
    """Draw bushes off the roads, in clumps."""
    rows, columns = _scatter(canvas, rng.poisson(canvas.size**2 * plants.bushes), plants, rng)
    clump = smooth_noise(rng, canvas.size, canvas.n, 25.0)[rows, columns] > 0.2
    kept = clump & (streets.edge[rows, columns] > 1.5) & ~canvas.blocked[rows, columns]
    rows, columns = rows[kept], columns[kept]
    radius = rng.choice(_BUSH, len(rows))
    return _planted(rows, columns, radius, np.full(len(rows), Form.BUSH), _tints(len(rows), plants, rng), rng)


def _places(canvas: Canvas, streets: Streets, style: Style, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows and columns of the trees."""
    plants = style.plants
    area = canvas.size**2
    density = plants.trees + _WOODS * plants.forest
    wood = smooth_noise(rng, canvas.size, canvas.n, 70.0) > plants.woods
    rows, columns = _scatter(canvas, rng.poisson(area * density), plants, rng)
    kept = wood[rows, columns] | (rng.random(len(rows)) < plants.trees / density)
    kept &= streets.edge[rows, columns] > 0.8
    verge_rows, verge_columns = _scatter(canvas, int(area / _VERGE_CELL), plants, rng)
    edge = streets.edge[verge_rows, verge_columns]
    verge = (edge > 0.6) & (edge < style.streets.margin + 1.2) & (rng.random(len(edge)) < plants.verge)
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


def _plant_trunks(canvas: Canvas, trees: Trees, stems: float) -> None:
    """Draw a trunk under every crown of a tree, up to the crown's base, and a share of the crown's height higher."""
    bark = canvas.add(_BARK, Surface.UPRIGHT)
    width = max(1, round(_TRUNK / canvas.cell))
    tree = trees.form != Form.BUSH
    for step in range(width * width):
        place = (trees.rows[tree] + step // width) * canvas.n + trees.columns[tree] + step % width
        place = place[(canvas.kind.ravel().take(place) == Kind.GROUND) & (canvas.canopy_top.ravel().take(place) > 0)]
        top, base = canvas.canopy_top.ravel().take(place), canvas.canopy_base.ravel().take(place)
        canvas.height.ravel()[place] = base + 2 + (np.float32(stems) * (top - base)).astype(np.uint8)
        canvas.kind.ravel()[place] = Kind.TRUNK
        canvas.material.ravel()[place] = bark
        canvas.shade.ravel()[place] = 1.0
