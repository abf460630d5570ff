"""Lots: where houses may stand along the roads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas
from .ground import Block
from .streets import Streets
from .styles import HouseStyle, Style

_FORECOURT = 12.0  # metres that a hall stands further back for each time that it is larger than a house
# share of a block's lots that are used, by what the block is for
_FILL = {Block.LAWN: 1.0, Block.PARK: 0.08, Block.PAVED: 0.95, Block.FIELD: 0.12, Block.WATER: 0.0}


@dataclass(frozen=True)
class Lots:
    """Houses to be, one entry each; lengths in metres.

    Attributes:
        x, y: centres `[N]`, metres east and south of the scene's centre.
        across: unit vectors `[N, 2]` (east, south) away from the house's road.
        half_depth, half_width: `[N]`, half the sides across and along the road.
        hall: bool `[N]`, whether it is a large building with a flat roof.
    """

    x: np.ndarray
    y: np.ndarray
    across: np.ndarray
    half_depth: np.ndarray
    half_width: np.ndarray
    hall: np.ndarray

    def take(self, rows: np.ndarray) -> Lots:
        """Return the lots of some rows: a mask `[L]`, or numbers `[n]`."""
        return Lots(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def place_lots(canvas: Canvas, streets: Streets, blocks: np.ndarray, style: Style, rng: np.random.Generator) -> Lots:
    """Return lots along both families of roads, in random order, without those that meet a road or water.

    Args:
        blocks: int8 `[B0, B1]`, what the blocks are used for (see `Block`).
    """
    runs = [_runs(streets, family, blocks, style) for family in (0, 1)]
    parts = [_fill_runs(run, style.houses, rng) for run in runs]
    u = np.concatenate([parts[0]["across"], parts[1]["along"]])
    v = np.concatenate([parts[0]["along"], parts[1]["across"]])
    family = np.repeat([0, 1], [len(part["across"]) for part in parts])
    names = "side", "half_depth", "half_width", "hall"
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    x, y = streets.frame.to_metres(canvas, u, v)
    east, south = streets.normal(family, canvas.index(y), canvas.index(x))
    across = np.stack([east, south], axis=1) * joined["side"][:, None]
    lots = Lots(x, y, across, joined["half_depth"], joined["half_width"], joined["hall"])
    return lots.take(rng.permutation(np.flatnonzero(_fits(canvas, lots))))


def place_sheds(canvas: Canvas, lots: Lots, share: float, rng: np.random.Generator) -> Lots:
    """Return small lots behind or beside a share of the houses `[N]`, those that are free."""
    lots = lots.take(rng.random(len(lots.x)) < share)
    count = len(lots.x)
    half_depth, half_width = rng.uniform(1.3, 3.4, (2, count))
    behind = rng.random(count) < 0.6
    back = lots.half_depth * rng.uniform(0.2, 1.0, count) + np.where(behind, half_depth + rng.uniform(2, 9, count), 0)
    aside = rng.choice([-1, 1], count) * (lots.half_width + np.where(behind, -1, 1) * (half_width + 0.8))
    x = lots.x + lots.across[:, 0] * back - lots.across[:, 1] * aside
    y = lots.y + lots.across[:, 1] * back + lots.across[:, 0] * aside
    sheds = Lots(x, y, lots.across, half_depth, half_width, np.zeros(count, bool))
    return sheds.take(_fits(canvas, sheds))


def _runs(streets: Streets, family: int, blocks: np.ndarray, style: Style) -> dict[str, np.ndarray]:
    """Return, for both sides of all road segments of a family, where lots begin and end and what share is used."""
    roads, crossing = streets.families[family], streets.families[1 - family]
    uses = blocks if family == 0 else blocks.T
    road, segment, side = np.meshgrid(
        np.arange(len(roads.centres)), np.arange(len(crossing.centres) - 1), (-1, 1), indexing="ij"
    )
    block = np.where(side > 0, road, road - 1)
    kept = roads.present[road, segment] & (block >= 0) & (block < len(uses))
    road, segment, side, block = road[kept], segment[kept], side[kept], block[kept]
    gap = style.streets.margin + 2
    fill = np.array([_FILL[use] for use in Block])[uses[block, segment]]
    return {
        "start": crossing.centres[segment] + crossing.half_widths[segment] + gap,
        "end": crossing.centres[segment + 1] - crossing.half_widths[segment + 1] - gap,
        "front": roads.centres[road] + side * (roads.half_widths[road] + style.streets.margin),
        "side": side,
        "fill": fill * style.houses.fill,
        "scale": np.where(uses[block, segment] == Block.PAVED, style.houses.halls, 1.0),
    }


def _fill_runs(runs: dict[str, np.ndarray], style: HouseStyle, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Cut every run into lots, and return the houses of those that are used."""
    count = len(runs["start"])
    most = math.ceil(float((runs["end"] - runs["start"]).max()) / style.lot[0]) + 1
    shape = (count, most)
    scale = runs["scale"][:, None]
    lot = rng.uniform(*style.lot, shape) * scale
    left = (runs["start"] + 6 * rng.random(count))[:, None] + np.cumsum(lot, axis=1) - lot
    width = np.minimum(rng.uniform(*style.width, shape) * scale, 0.98 * lot)
    depth = rng.uniform(*style.depth, shape) * scale
    setback = rng.uniform(*style.setback, (count, 1)) + rng.uniform(-0.5, 1.0, shape) + _FORECOURT * (scale - 1)
    used = (rng.random(shape) < runs["fill"][:, None]) & (left + width < runs["end"][:, None] + 2)
    side = np.broadcast_to(runs["side"][:, None], shape)
    across = runs["front"][:, None] + side * (np.maximum(setback, 0.3) + depth / 2)
    return {
        "across": across[used],
        "along": (left + width / 2)[used],
        "side": side[used],
        "half_depth": depth[used] / 2,
        "half_width": width[used] / 2,
        "hall": np.broadcast_to(scale > 1, shape)[used],
    }


def _fits(canvas: Canvas, lots: Lots) -> np.ndarray:
    """Return which lots `[N]` lie inside the scene, with none of nine points of outline and middle blocked, bool."""
    reach = np.hypot(lots.half_depth, lots.half_width) + 1.0
    fits = np.maximum(np.abs(lots.x), np.abs(lots.y)) + reach < canvas.size / 2
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            p, t = a * lots.half_depth, b * lots.half_width
            x = lots.x + lots.across[:, 0] * p - lots.across[:, 1] * t
            y = lots.y + lots.across[:, 1] * p + lots.across[:, 0] * t
            fits &= ~canvas.blocked[canvas.index(y), canvas.index(x)]
    return fits
