"""What a season makes of the ground and of the trees: straw, autumn leaves, bare branches, snow, wet roads."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .canvas import Canvas, Surface
from .crowns import Form, Trees
from .ground import Ground
from .styles import PlantStyle, SeasonStyle

_STRAW = (182, 165, 120)
_SNOW = (228, 233, 240)
_TWIGS = (118, 106, 95)
_AUTUMN = np.array([(190, 120, 45), (160, 85, 42), (205, 165, 60), (145, 105, 60), (170, 60, 40)], np.float32)
_WET = {Surface.ROAD: 0.5, Surface.WALK: 0.3, Surface.ROOF: 0.2}  # share of its brightness that a soaked surface loses
_TWIGGY = 0.38  # share of a bare crown's cells that hold a branch
_BRANCH = 0.1  # share of the crown's height that such a branch takes
_SNOWY_ROOFS = 0.9  # snow on roofs, relative to that on land
_SNOWY_LEAVES = 0.35  # share of white in a crown under deep snow


@dataclass(frozen=True)
class Crowns:
    """The crowns' cells as one season shows them, one entry a cell.

    Attributes:
        place: intp `[K]`, flat index, ascending.
        tree: int32 `[K]`, number of the tree.
        top, base: uint8 `[K]`, steps of HEIGHT_STEP.
        tint: float32 `[T, 3]`, the trees' colours.
    """

    place: np.ndarray
    tree: np.ndarray
    top: np.ndarray
    base: np.ndarray
    tint: np.ndarray


def dress_palette(canvas: Canvas, season: SeasonStyle) -> np.ndarray:
    """Return the colours of all materials in a season, float32 `[K + 1, 3]`; the last one is snow."""
    surfaces = canvas.palette.surfaces
    colours = np.concatenate([canvas.palette.colours, np.float32([_SNOW])])
    grass, leaf = (np.flatnonzero(surfaces == surface) for surface in (Surface.GRASS, Surface.LEAF))
    straw = np.float32(season.straw)
    colours[grass] = (colours[grass] * (1 - straw) + np.float32(_STRAW) * straw) * np.float32(season.land)
    colours[leaf] *= np.float32(season.leaves)
    for surface, loss in _WET.items():
        colours[np.flatnonzero(surfaces == surface)] *= np.float32(1 - loss * season.wet)
    return colours


def lay_snow(canvas: Canvas, ground: Ground, season: SeasonStyle) -> np.ndarray:
    """Return the materials with snow on them, uint16 `[n, n]`: whole under deep snow, in patches under less."""
    if season.snow == 0:
        return canvas.material
    covers = np.zeros(len(Surface))
    covers[[Surface.OTHER, Surface.ROAD, Surface.WALK]] = season.snow * (1 - season.cleared)
    covers[[Surface.GRASS, Surface.LEAF]], covers[Surface.ROOF] = season.snow, season.snow * _SNOWY_ROOFS
    depths = np.array([NormalDist().inv_cdf(min(max(cover, 1e-4), 1 - 1e-4)) for cover in covers], np.float32)
    noise = np.float32(0.75) * ground.fine + np.float32(0.66) * ground.patches
    surfaces = canvas.palette.surfaces
    covered = noise < depths.take(surfaces).take(canvas.material)
    return np.where(covered, np.uint16(len(surfaces)), canvas.material)


def dress_crowns(
    canvas: Canvas, trees: Trees, ground: Ground, season: SeasonStyle, plants: PlantStyle, seen: np.ndarray
) -> Crowns:
    """Return the crowns in a season; those of bare trees are a few branches, through which one sees.

    Args:
        canvas: the crowns in summer.
        trees: the trees.
        ground: its noise says where leaves and branches are.
        season: the season.
        plants: how many holes and bumps the crowns have.
        seen: bool `[T]`, which trees stand there at all.
    """
    broad = trees.form != Form.CONE
    turned, bare = broad & (trees.fate[:, 0] < season.autumn), broad & (trees.fate[:, 2] < season.bare)
    tint = trees.tint * np.float32(season.leaves)
    reds = _AUTUMN[(trees.fate[:, 1] * len(_AUTUMN)).astype(int)]
    tint = np.where(turned[:, None], 0.8 * reds + 0.2 * tint, tint)
    tint[bare] = _TWIGS
    white = np.float32(_SNOWY_LEAVES * season.snow)
    tint = (tint * (1 - white) + np.float32(_SNOW) * white).astype(np.float32)
    kept = np.where(bare, np.float32(_TWIGGY), np.float32(1 - plants.thin)) * seen
    place = np.flatnonzero(canvas.canopy_top)
    tree, top, base = (raster.ravel().take(place) for raster in (canvas.tree, canvas.canopy_top, canvas.canopy_base))
    if (kept < 1).any():
        draw = ground.grain.ravel().take(place) * np.float32(5.3) + ground.fine.ravel().take(place) * np.float32(17)
        draw -= np.floor(draw)
        there = np.flatnonzero(draw < kept.take(tree))
        place, tree, top, base, draw = (values[there] for values in (place, tree, top, base, draw))
        branch = np.flatnonzero(bare.take(tree))
        low, extent = base[branch], top[branch] - base[branch]
        base[branch] = low + extent * (1 - _BRANCH) * (draw[branch] / _TWIGGY)
        top[branch] = base[branch] + np.maximum(extent * _BRANCH, 1)
    if plants.lumpy:
        bump = plants.lumpy * ground.fine.ravel().take(place) * (top - base)
        top = np.clip(top + bump, base + np.float32(1), 255).astype(np.uint8)
    return Crowns(place, tree, top, base, tint)
