"""Paint on the roads: middle lines, lane and edge lines, crosswalks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Surface
from .roads import Make
from .streets import Streets
from .styles import Style

_WHITE = (235, 235, 225)
_YELLOW = (230, 190, 70)


@dataclass(frozen=True)
class _RoadCells:
    """The cells on the roads of one family; every array has one entry a cell, lengths in metres."""

    index: np.ndarray  # flat index into the rasters
    offset: np.ndarray  # from the middle line
    edge: np.ndarray  # from the road's edge, negative
    cross: np.ndarray  # from the edge of the crossing family's nearest road
    along: np.ndarray  # position along the road
    main: np.ndarray  # bool
    half_width: np.ndarray
    crosswalk: np.ndarray  # bool: this arm of the crossing has one
    marked: np.ndarray  # bool
    white: np.ndarray  # bool: its middle line is white


def paint_marks(
    canvas: Canvas, streets: Streets, style: Style, makes: tuple[Make, Make], rng: np.random.Generator
) -> None:
    """Paint the marks of both families of roads."""
    faded = np.float32(style.streets.faded)
    white, yellow = (
        canvas.add(np.float32(paint) * (1 - faded) + np.float32(style.land.asphalt) * faded, Surface.ROAD)
        for paint in (_WHITE, _YELLOW)
    )
    line = max(0.16, 0.5 * canvas.cell)  # half a line's width: never thinner than a cell
    material = canvas.material.ravel()
    for family in (0, 1):
        cells = _road_cells(streets, family, style, makes[family], rng)
        middle, rest = _middle(cells, line), _lanes(cells, line) | _crosswalks(cells)
        material[cells.index[middle & cells.marked]] = white
        material[cells.index[middle & cells.marked & cells.main & ~cells.white]] = yellow
        material[cells.index[rest & cells.marked]] = white


def _road_cells(streets: Streets, family: int, style: Style, make: Make, rng: np.random.Generator) -> _RoadCells:
    roads, crossing = streets.families[family], streets.families[1 - family]
    index = np.flatnonzero(roads.edge < 0)
    quadrant = streets.quadrant.ravel().take(index)
    crosswalks = (rng.random(streets.shape) < style.streets.crosswalks).ravel()
    return _RoadCells(
        index=index,
        offset=roads.offset.ravel().take(index),
        edge=roads.edge.ravel().take(index),
        cross=crossing.edge.ravel().take(index),
        along=crossing.coordinate.ravel().take(index),
        main=streets.by_road(family, roads.main).take(quadrant),
        half_width=streets.by_road(family, roads.half_widths).take(quadrant),
        crosswalk=_whole_arms(crosswalks.reshape(streets.shape), family).take(quadrant),
        marked=~streets.by_road(family, make.unmarked).take(quadrant),
        white=streets.by_road(family, make.white).take(quadrant),
    )


def _whole_arms(draws: np.ndarray, family: int) -> np.ndarray:
    """Give both sides of a road the same draw: quadrants 2b - 1 and 2b share a road."""
    shared = np.array(draws if family == 0 else draws.T)
    shared[2::2] = shared[1:-1:2]
    return (shared if family == 0 else shared.T).ravel()


def _middle(cells: _RoadCells, line: float) -> np.ndarray:
    """Return where a line runs along the middle, dashed on minor roads; it ends 1.5 metres before crossings."""
    near = (cells.cross > 1.5) & (np.abs(cells.offset) < line)
    return _refined(near, lambda at: cells.main[at] | (cells.along[at] % 6.0 < 3.0))


def _lanes(cells: _RoadCells, line: float) -> np.ndarray:
    """Return where main roads have edge lines and dashed lane lines."""
    main = cells.main & (cells.cross > 1.5)
    edge = np.abs(cells.edge + 0.6) < 0.8 * line
    lane = np.abs(np.abs(cells.offset) - cells.half_width / 2) < 0.8 * line
    return _refined(main & (edge | lane), lambda at: edge[at] | (cells.along[at] % 8.0 < 3.0))


def _crosswalks(cells: _RoadCells) -> np.ndarray:
    """Return where stripes lie across the arms of a crossing."""
    place = cells.crosswalk & (cells.edge < -0.3) & (cells.cross > 0.8) & (cells.cross < 3.4)
    return _refined(place, lambda at: cells.offset[at] % 1.3 < 0.65)


def _refined(mask: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return a mask less the cells that fail a test, which is slow and sees those of the mask only."""
    at = np.flatnonzero(mask)
    mask[at] = test(at)
    return mask
