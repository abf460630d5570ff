"""The carriageways: what each road is made of, its shoulders and medians, wear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Surface
from .streets import Roads, Streets
from .styles import LandStyle, Style

_RAGGED = 0.5  # metres by which the edge of a shoulder wanders
_NO_MEDIAN = 9.0  # metres before a crossing at which a median ends
_KERB = 1  # height of a median, steps of HEIGHT_STEP: cameras stand beside it
_PATCH = (7.0, 1.7)  # metres along and across the pieces in which asphalt is repaired
_REPAIRED = 0.07  # share of the pieces that were repaired
_CRACK = 0.03  # of a noise whose spread is 1: what is nearer to 0 is a crack
_LANE = 3.4  # metres between wheel tracks and the next ones


@dataclass(frozen=True)
class Make:
    """How the K roads of a family are made.

    Attributes:
        unpaved, unmarked, white: bool `[K]`: gravel or earth; without lines; with a white middle line if main.
        median: float32 `[K]`, width of the grass in the middle, metres.
    """

    unpaved: np.ndarray
    unmarked: np.ndarray
    white: np.ndarray
    median: np.ndarray


def draw_makes(streets: Streets, style: Style, rng: np.random.Generator) -> tuple[Make, Make]:
    """Draw how the roads of both families are made."""
    first, second = streets.families
    return _draw_make(first, style, rng), _draw_make(second, style, rng)


def _draw_make(roads: Roads, style: Style, rng: np.random.Generator) -> Make:
    look, draw = style.streets, rng.random((4, len(roads.centres)), dtype=np.float32)
    unpaved = ~roads.main & (draw[0] < look.unpaved)
    median = look.median[0] + (look.median[1] - look.median[0]) * draw[3]
    fits = roads.main & (median > 0.8) & (roads.half_widths - median / 2 > 3.0)
    return Make(
        unpaved, unpaved | (draw[1] < look.unmarked), draw[2] < look.white, np.where(fits, median, np.float32(0))
    )


def paint_roads(
    canvas: Canvas, streets: Streets, style: Style, makes: tuple[Make, Make], rng: np.random.Generator
) -> None:
    """Paint sidewalks, and each road in asphalt of its own tint; `rng` draws the tints."""
    _paint_margins(canvas, streets, style)
    road = np.flatnonzero(streets.edge < 0)
    quadrant = streets.quadrant.ravel().take(road)
    first, second = (
        streets.by_road(family, _tints(canvas, make, style.land, rng)).take(quadrant)
        for family, make in enumerate(makes)
    )
    canvas.material.ravel()[road] = np.where(streets.on_first(road), first, second)


def _paint_margins(canvas: Canvas, streets: Streets, style: Style) -> None:
    """Paint the sidewalks, and ragged shoulders of gravel."""
    look = style.streets
    walk = (streets.edge >= look.strip) & (streets.edge < look.strip + look.sidewalk)
    canvas.material[walk] = canvas.add(style.land.walk, Surface.WALK)
    if look.shoulder > 0:
        near = np.flatnonzero((streets.edge >= 0) & (streets.edge < look.shoulder + _RAGGED))
        ragged = streets.edge.ravel().take(near) + _RAGGED * (canvas.shade.ravel().take(near) - 1) * 8
        canvas.material.ravel()[near[ragged < look.shoulder]] = canvas.add(style.land.gravel, Surface.WALK)


def _tints(canvas: Canvas, make: Make, land: LandStyle, rng: np.random.Generator) -> np.ndarray:
    made_of = np.where(make.unpaved[:, None], land.gravel, land.asphalt)
    tints = made_of * (1 + 0.1 * rng.standard_normal((len(made_of), 1)))
    return (canvas.add(tints, Surface.ROAD) + np.arange(len(made_of))).astype(np.uint16)


def build_medians(canvas: Canvas, streets: Streets, makes: tuple[Make, Make], grass: int) -> None:
    """Raise a strip of grass along the middle of divided roads, away from the crossings."""
    for family, make in enumerate(makes):
        if not make.median.any():
            continue
        roads, crossing = streets.families[family], streets.families[1 - family]
        road = np.flatnonzero(roads.edge < 0)
        width = streets.by_road(family, make.median).take(streets.quadrant.ravel().take(road))
        on = np.abs(roads.offset.ravel().take(road)) < width / 2
        place = road[on & (crossing.edge.ravel().take(road) > _NO_MEDIAN)]
        canvas.material.ravel()[place], canvas.height.ravel()[place] = grass, _KERB


def wear_down(canvas: Canvas, streets: Streets, style: Style, patches: np.ndarray, fine: np.ndarray) -> None:
    """Darken and brighten carriageways by wheel tracks, stains, cracks and repaired pieces.

    Args:
        canvas: rasters that are drawn into.
        streets: the roads.
        style: says how worn they are.
        patches, fine: see `Ground`.
    """
    wear = np.float32(style.streets.wear)
    if wear == 0:
        return
    road = np.flatnonzero(streets.edge < 0)
    first = streets.on_first(road)
    across, along = (
        np.where(first, one.ravel().take(road), two.ravel().take(road))
        for one, two in (
            (streets.families[0].offset, streets.families[1].offset),
            (streets.families[1].coordinate, streets.families[0].coordinate),
        )
    )
    stain, crack = patches.ravel().take(road), np.abs(fine.ravel().take(road)) < _CRACK
    tracks = np.cos(across * np.float32(4 * np.pi / _LANE))
    piece = np.floor(along / np.float32(_PATCH[0])) * 57 + np.floor(across / np.float32(_PATCH[1])) * 131
    repaired = (piece.astype(np.int64) * 2654435 >> 5 & 255) < _REPAIRED * 256
    canvas.shade.ravel()[road] *= 1 + wear * (0.5 * stain + 0.3 * tracks - 1.1 * repaired - 1.3 * crack)
