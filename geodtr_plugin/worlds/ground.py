"""The ground: blocks of grass, fields, water and paving, roads and sidewalks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from .canvas import Canvas, Surface, strips
from .marks import paint_marks
from .noise import grain, smooth_noise
from .roads import build_medians, draw_makes, paint_roads, wear_down
from .streets import Streets
from .styles import LandStyle, Style

_CROPS = np.array([(120, 135, 60), (190, 165, 95), (150, 115, 80), (165, 160, 85), (95, 120, 55)], np.float32)
_WATER = (70, 95, 110)
STALL = (2.7, 5.0, 16.0)  # width and length of a stall in a parking lot, and the distance between rows of them, metres
_SHORE = 3.5  # metres of grass between a road and water


class Block(IntEnum):
    """What a block is used for, in the order of `LandStyle.blocks`."""

    LAWN = 0
    PARK = 1
    PAVED = 2
    FIELD = 3
    WATER = 4


@dataclass(frozen=True)
class Ground:
    """What later steps need to know about the ground.

    Attributes:
        blocks: int8 `[B0, B1]`, the blocks' uses.
        uses: int8 `[n, n]`, the same for every cell.
        patches, fine: float32 `[n, n]`, smooth noise of about 9 m and 2 m.
        grain: float32 `[n, n]`, white noise.
    """

    blocks: np.ndarray
    uses: np.ndarray
    patches: np.ndarray
    fine: np.ndarray
    grain: np.ndarray


def draw_ground(
    canvas: Canvas, streets: Streets, style: Style, rng: np.random.Generator, road_rng: np.random.Generator
) -> Ground:
    """Paint everything that lies flat, mark roads and water as blocked, and return what later steps need to know.

    Args:
        canvas: rasters that are drawn into.
        streets: the roads.
        style: looks of all of it.
        rng: source of all that is random, but for:
        road_rng: source of what roads are made of.
    """
    makes = draw_makes(streets, style, road_rng)
    shares = np.array(style.land.blocks)
    blocks = rng.choice(len(Block), size=streets.blocks, p=shares / shares.sum()).astype(np.int8)
    ground = Ground(
        blocks=blocks,
        uses=streets.by_block(blocks).take(streets.quadrant),
        patches=smooth_noise(rng, canvas.size, canvas.n, 9.0),
        fine=smooth_noise(rng, canvas.size, canvas.n, 2.2),
        grain=grain(rng, canvas.n),
    )
    _paint_blocks(canvas, streets, style.land, ground, rng)
    _texture(canvas, streets, style, ground)
    if style.land.parcels:
        _divide(canvas, streets, style, ground)
    _paint_uses(canvas, streets, style, ground, rng)
    paint_roads(canvas, streets, style, makes, rng)
    paint_marks(canvas, streets, style, makes, rng)
    wear_down(canvas, streets, style, ground.patches, ground.fine)
    build_medians(canvas, streets, makes, canvas.add(style.land.grass, Surface.GRASS))
    canvas.blocked |= streets.edge < 0.4
    return ground


def _paint_blocks(canvas: Canvas, streets: Streets, land: LandStyle, ground: Ground, rng: np.random.Generator) -> None:
    """Paint each block in one colour, and its worn patches in a drier one."""
    shape = (*streets.blocks, 1)
    dryness = np.clip(land.dryness + 0.25 * rng.standard_normal(shape), 0, 1)
    grass, dry, paving = (np.array(colour, np.float32) for colour in (land.grass, land.dry, land.paving))
    colours = (grass * (1 - dryness) + dry * dryness) * (1 + 0.08 * rng.standard_normal(shape))
    colours = np.where(
        (ground.blocks == Block.PAVED)[..., None], paving * (1 + 0.12 * rng.standard_normal(shape)), colours
    )
    crops = _CROPS[rng.integers(len(_CROPS), size=streets.blocks)]
    colours = np.where((ground.blocks == Block.FIELD)[..., None], crops, colours)
    surfaces = np.where((ground.blocks == Block.PAVED), Surface.ROAD, Surface.GRASS)
    worn = np.where((ground.blocks == Block.PAVED)[..., None], colours * 0.93, 0.5 * colours + 0.5 * dry)
    first, first_worn = (canvas.add(some, surfaces) for some in (colours, worn))
    numbers = np.arange(ground.blocks.size).reshape(streets.blocks)
    table = streets.by_block(numbers + first).astype(np.uint16)
    canvas.material[:] = table.take(streets.quadrant)
    ragged = ground.patches + np.float32(0.2) * ground.grain > 1.0
    canvas.material[ragged] += np.uint16(first_worn - first)


def _texture(canvas: Canvas, streets: Streets, style: Style, ground: Ground) -> None:
    """Give land a rough texture, and roads a smoother one."""
    for rows in strips(canvas.n):
        rough = ground.patches[rows] * np.float32(0.5)
        rough += ground.fine[rows] * np.float32(0.45)
        rough += ground.grain[rows] * np.float32(0.45)
        rough *= np.float32(style.land.roughness)
        smooth = streets.edge[rows] < style.streets.margin
        rough[smooth] *= np.float32(0.5)
        np.add(rough, 1, out=canvas.shade[rows])


def _divide(canvas: Canvas, streets: Streets, style: Style, ground: Ground) -> None:
    """Give every garden along a road a brightness of its own."""
    garden = _cells(streets, ground, Block.LAWN, style.streets.margin)
    u, v = (roads.coordinate.ravel().take(garden) for roads in streets.families)
    along = np.where(streets.on_first(garden), v, u) * np.float32(1 / np.mean(style.houses.lot))
    number = np.floor(along).astype(np.int64) * 7919 + streets.quadrant.ravel().take(garden)
    level = (number * 2654435 >> 4 & 255).astype(np.float32) * np.float32(2 / 255) - 1
    canvas.shade.ravel()[garden] *= 1 + np.float32(style.land.parcels) * level


def _cells(streets: Streets, ground: Ground, use: Block, setback: float) -> np.ndarray:
    """Return flat indices of the cells in blocks of one use, at least `setback` metres off the roads."""
    if use not in ground.blocks:
        return np.zeros(0, np.intp)
    return np.flatnonzero((ground.uses == use) & (streets.edge > setback))


def _paint_uses(canvas: Canvas, streets: Streets, style: Style, ground: Ground, rng: np.random.Generator) -> None:
    """Paint rows of crops, parking stalls, paths in parks, ponds."""
    material, shade = canvas.material.ravel(), canvas.shade.ravel()
    u, v = (roads.coordinate.ravel() for roads in streets.families)

    field = _cells(streets, ground, Block.FIELD, 0.0)
    lengthwise = streets.by_block(rng.random(streets.blocks) < 0.5).take(streets.quadrant.ravel().take(field))
    rows = np.where(lengthwise, u.take(field), v.take(field))
    shade[field] *= np.where(rows % 3.2 < 1.6, np.float32(1 + style.land.rows), np.float32(1 - style.land.rows))

    stall = _cells(streets, ground, Block.PAVED, 5.0)
    width, length, apart = STALL
    stall = stall[(v.take(stall) % apart < length) & (u.take(stall) % width < max(0.2, 0.6 * canvas.cell))]
    material[stall] = canvas.add(0.4 * np.array(style.land.paving) + 0.6 * np.array((235, 235, 225)), Surface.ROAD)

    path = _cells(streets, ground, Block.PARK, 0.0)
    path = path[np.abs(ground.patches.ravel().take(path) + 0.3 * np.sin(u.take(path) / 11)) < 0.07]
    material[path] = canvas.add(0.95 * np.array(style.land.walk), Surface.WALK)

    water = _cells(streets, ground, Block.WATER, style.streets.margin + 0.5)
    water = water[streets.edge.ravel().take(water) + ground.patches.ravel().take(water) > style.streets.margin + _SHORE]
    material[water] = canvas.add(_WATER, Surface.WATER)
    canvas.blocked.ravel()[water] = True
