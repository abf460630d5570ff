"""The street plan: two families of roads, straight lines in a bent coordinate frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, strips
from .noise import smooth_noise
from .styles import StreetStyle

_FAR = 1000.0  # distance to a road where its segment is missing, metres
_TABLE_STEP = 0.25  # metres; only tells which half of which block a cell is in


@dataclass(frozen=True)
class Frame:
    """The plan's coordinates u and v, metres: x and y (metres east and south) turned by an angle, plus a bend."""

    cos: float
    sin: float
    bend: tuple[np.ndarray, np.ndarray] | None  # float32 `[n, n]` each, metres

    def coordinates(self, canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
        """Return u and v of every cell, float32 `[n, n]` each, metres."""
        x, y = canvas.x[None, :], canvas.y[:, None]
        c, s = np.float32(self.cos), np.float32(self.sin)
        u, v = c * x + s * y, c * y - s * x
        if self.bend is not None:
            u += self.bend[0]
            v += self.bend[1]
        return u, v

    def to_metres(self, canvas: Canvas, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y, metres, of points of the plan, of any shape, by fixed-point iteration (bends are gentle)."""
        x, y = self.cos * u - self.sin * v, self.sin * u + self.cos * v
        if self.bend is None:
            return x, y
        for _ in range(5):
            at = canvas.index(y), canvas.index(x)
            a, b = u - self.bend[0][at], v - self.bend[1][at]
            x, y = self.cos * a - self.sin * b, self.sin * a + self.cos * b
        return x, y


@dataclass(frozen=True)
class Roads:
    """K parallel roads: lines of constant u (family 0) or of constant v (family 1).

    Attributes:
        centres, half_widths: float32 `[K]`, metres.
        main: bool `[K]`.
        present: bool `[K, B]`, whether the segment along that block of the other family exists.
        coordinate: float32 `[n, n]`, u or v.
        offset: float32 `[n, n]`, metres from the nearest road's middle line.
        edge: float32 `[n, n]`, metres from the nearest road's edge, negative on the road.
    """

    centres: np.ndarray
    half_widths: np.ndarray
    main: np.ndarray
    present: np.ndarray
    coordinate: np.ndarray
    offset: np.ndarray
    edge: np.ndarray


@dataclass(frozen=True)
class Streets:
    """The whole plan.

    Attributes:
        families: the two families of roads.
        quadrant: intp `[n, n]`, which quarter of which block; index for the tables that `by_block` and `by_road` make.
        shape: quadrants along u and along v.
        edge: float32 `[n, n]`, metres from the nearest road of either family, negative on a road.
    """

    frame: Frame
    families: tuple[Roads, Roads]
    quadrant: np.ndarray
    shape: tuple[int, int]
    edge: np.ndarray

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks along u and along v."""
        return self.shape[0] // 2, self.shape[1] // 2

    def by_block(self, values: np.ndarray) -> np.ndarray:
        """Spread a value for each block `[B0, B1]` to a flat table over the quadrants."""
        return np.repeat(np.repeat(values, 2, 0), 2, 1).ravel()

    def by_road(self, family: int, values: np.ndarray) -> np.ndarray:
        """Spread a value for each road `[K]` of a family to a flat table over the quadrants: that of the nearest."""
        nearest = (np.arange(self.shape[family]) + 1) // 2
        column = values[nearest]
        return np.broadcast_to(column[:, None] if family == 0 else column[None, :], self.shape).ravel()

    def on_first(self, cell: np.ndarray) -> np.ndarray:
        """Return which cells, flat indices of any shape, are nearer to a road of the first family, bool."""
        return self.families[0].edge.ravel().take(cell) < self.families[1].edge.ravel().take(cell)

    def normal(self, family: int | np.ndarray, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return unit vectors, east and south `[n]`, across the roads of a family at cells `[n]`: its gradient."""
        n = len(self.edge)
        i, j = np.clip(row, 1, n - 2), np.clip(column, 1, n - 2)
        u, v = (roads.coordinate for roads in self.families)
        along_x = np.where(np.equal(family, 0), u[i, j + 1] - u[i, j - 1], v[i, j + 1] - v[i, j - 1])
        along_y = np.where(np.equal(family, 0), u[i + 1, j] - u[i - 1, j], v[i + 1, j] - v[i - 1, j])
        length = np.hypot(along_x, along_y) + 1e-9
        return along_x / length, along_y / length


def plan_streets(canvas: Canvas, style: StreetStyle, rng: np.random.Generator) -> Streets:
    """Draw a plan, and measure for every cell of the canvas where the roads are."""
    frame = _draw_frame(canvas, style, rng)
    reach = canvas.size * 0.73 + 2 * style.warp + 60
    lines = [_draw_lines(style, spacing, reach, rng) for spacing in style.spacing]
    blocks = len(lines[0].centres) - 1, len(lines[1].centres) - 1
    present = [_draw_segments(one, crossed, style, rng) for one, crossed in zip(lines, blocks[::-1])]
    return _measure(canvas, frame, lines, present)


def _draw_frame(canvas: Canvas, style: StreetStyle, rng: np.random.Generator) -> Frame:
    mean, spread = style.heading
    heading = mean + spread * rng.standard_normal() + math.pi / 2 * rng.integers(4)
    bend = None
    if style.warp:
        fields = (smooth_noise(rng, canvas.size, canvas.n, style.bend) for _ in range(2))
        bend = tuple(field * np.float32(style.warp) for field in fields)
    return Frame(math.cos(heading), math.sin(heading), bend)


@dataclass(frozen=True)
class _Lines:
    """The roads of a family, before anything is measured; see `Roads`."""

    centres: np.ndarray
    half_widths: np.ndarray
    main: np.ndarray


def _draw_lines(style: StreetStyle, spacing: float, reach: float, rng: np.random.Generator) -> _Lines:
    """Draw the roads of a family, from -reach to beyond +reach."""
    narrowest = 3.2 * style.half_width[1] + 14  # leaves room for lots between the roads
    count = int(2 * reach / min(spacing, 2 * narrowest)) + 8
    gaps = np.maximum(spacing + style.spacing_sd * rng.standard_normal(count), narrowest)
    centres = np.cumsum(gaps) - reach - spacing * (1 + rng.random())
    kept = np.searchsorted(centres, reach) + 1
    main = rng.random(count)[:kept] < style.main
    half_widths = np.where(main, style.half_width[1], style.half_width[0]).astype(np.float32)
    return _Lines(centres[:kept].astype(np.float32), half_widths, main)


def _draw_segments(lines: _Lines, blocks: int, style: StreetStyle, rng: np.random.Generator) -> np.ndarray:
    """Draw which segments of a family's roads exist, bool `[K, blocks]`."""
    present = rng.random((len(lines.centres), blocks)) >= style.dropped
    present[lines.main] = True
    return present


def _half_blocks(centres: np.ndarray) -> np.ndarray:
    """Return 2 * block, plus 1 in the half that is nearer to the block's upper road, at every _TABLE_STEP, intp."""
    bounds = np.sort(np.concatenate([centres[1:-1], (centres[1:] + centres[:-1]) / 2]))
    grid = np.arange(centres[0], centres[-1], _TABLE_STEP)
    return np.searchsorted(bounds, grid + _TABLE_STEP / 2)


def _measure(canvas: Canvas, frame: Frame, lines: list[_Lines], present: list[np.ndarray]) -> Streets:
    """Measure all rasters; a missing segment counts as a road of negative width far away."""
    n, coordinates = canvas.n, frame.coordinates(canvas)
    shape = 2 * (len(lines[0].centres) - 1), 2 * (len(lines[1].centres) - 1)
    tables = [_half_blocks(one.centres) for one in lines]
    nearest = [(np.arange(side) + 1) // 2 for side in shape]  # the road that is nearest to a half block
    centres = [one.centres[roads] for one, roads in zip(lines, nearest)]
    first, second = (
        np.where(there, one.half_widths[:, None], np.float32(-_FAR))[roads].repeat(2, axis=1)
        for there, one, roads in zip(present, lines, nearest)
    )
    widths = first.ravel(), second.T.ravel()  # by quadrant
    quadrant = np.empty((n, n), np.intp)
    offset, edge = np.empty((2, 2, n, n), np.float32)
    for rows in strips(n):
        halves = []
        for family in (0, 1):
            steps = (coordinates[family][rows] - lines[family].centres[0]) * np.float32(1 / _TABLE_STEP)
            halves.append(tables[family].take(steps.astype(np.intp), mode="clip"))
            np.subtract(coordinates[family][rows], centres[family].take(halves[family]), out=offset[family, rows])
        quadrant[rows] = at = halves[0] * shape[1] + halves[1]
        for family in (0, 1):
            np.subtract(np.abs(offset[family, rows]), widths[family].take(at), out=edge[family, rows])
    along, across = (
        Roads(one.centres, one.half_widths, one.main, *measured)
        for one, *measured in zip(lines, present, coordinates, offset, edge)
    )
    return Streets(frame, (along, across), quadrant, shape, np.minimum(edge[0], edge[1]))
