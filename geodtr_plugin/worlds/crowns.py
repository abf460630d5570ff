"""Crowns of trees: stamps of a few sizes, and which tree's crown is on top of every cell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from .canvas import Canvas, Kind, height_steps
from .styles import PlantStyle

SIZES = 8  # different crown radii: crowns of one size share a stamp


class Form(IntEnum):
    """Shape of a crown."""

    ROUND = 0
    CONE = 1
    BUSH = 2


@dataclass(frozen=True)
class Trees:
    """All trees and bushes of a scene, one entry each.

    Attributes:
        rows, columns: int64 `[T]`, cell of the trunk.
        radius: float64 `[T]`, metres.
        form: int8 `[T]`, see `Form`.
        tint: float32 `[T, 3]`, colour of the leaves in summer.
        fate: float32 `[T, 4]` in 0..1, see `seasons`: how soon it turns, into which colour, how soon it is bare; and
            which of the cameras see it.
    """

    rows: np.ndarray
    columns: np.ndarray
    radius: np.ndarray
    form: np.ndarray
    tint: np.ndarray
    fate: np.ndarray

    def joined(self, other: Trees) -> Trees:
        """Return these trees, followed by others."""
        names = self.__dataclass_fields__
        return Trees(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))


@dataclass(frozen=True)
class _Stamp:
    """All cells of a crown of one size: offsets in cells, extent in metres, profile 0 at the rim to 1 in the middle."""

    rows: np.ndarray
    columns: np.ndarray
    profile: np.ndarray
    top: np.ndarray
    base: np.ndarray


def radii(plants: PlantStyle) -> np.ndarray:
    """Return the radius of the crowns of each size, float64 `[SIZES]`, metres."""
    low, high = plants.radius
    return low + (high - low) * (np.arange(SIZES) + 0.5) / SIZES


def draw_crowns(canvas: Canvas, trees: Trees, stretch: float) -> None:
    """Draw all crowns; where they overlap, the higher one is kept, and roofs stay free.

    Args:
        canvas: rasters that are drawn into.
        trees: the trees.
        stretch: factor on the height of trees.
    """
    parts = []
    for radius in np.unique(trees.radius):
        for form in Form:
            chosen = np.flatnonzero((trees.radius == radius) & (trees.form == form))
            if len(chosen):
                parts.append(_stamp_out(canvas, _stamp(canvas.cell, radius, form, stretch), trees, chosen))
    if not parts:
        return
    place, top, base, profile, tree = (np.concatenate(part) for part in zip(*parts))
    order = np.argsort(top, kind="stable")  # of repeated indices, numpy keeps the value that is assigned last
    shown = np.full(canvas.n**2, -1, np.int32)
    shown[place[order]] = order
    cells = np.flatnonzero((shown >= 0) & (canvas.kind.ravel() != Kind.BUILDING))
    shown = shown[cells]
    for raster, values in (
        (canvas.canopy_top, top), (canvas.canopy_base, base), (canvas.leaf, profile), (canvas.tree, tree)
    ):  # fmt: skip
        raster.ravel()[cells] = values[shown]


def _stamp(cell: float, radius: float, form: Form, stretch: float) -> _Stamp:
    """Return the stamp of a cone, a bush, or a round crown, thicker in the middle both upwards and downwards."""
    reach = int(radius / cell) + 1
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    distance = np.hypot(rows, columns) * (cell / radius)
    inside = distance < 1
    rows, columns, distance = rows[inside], columns[inside], distance[inside]
    profile = 1 - distance if form == Form.CONE else np.sqrt(1 - distance**2)
    base = {Form.ROUND: stretch * (2.0 + 0.12 * radius), Form.CONE: 1.0, Form.BUSH: 0.0}[form]
    height = {Form.ROUND: 1.8 * stretch, Form.CONE: 2.6 * stretch, Form.BUSH: 1.1}[form] * radius
    droop = 0.25 if form == Form.ROUND else 0.0
    return _Stamp(
        rows,
        columns,
        profile.astype(np.float32),
        base + 0.3 + height * (droop + (1 - droop) * profile),
        base + height * droop * (1 - profile),
    )


def _stamp_out(canvas: Canvas, stamp: _Stamp, trees: Trees, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the crowns' cells, crown by crown: flat index, top and base (steps of HEIGHT_STEP), profile and tree."""
    middle = trees.rows[chosen] * canvas.n + trees.columns[chosen]
    place = middle[:, None] + (stamp.rows * canvas.n + stamp.columns)[None, :]
    top, base, profile = (
        np.broadcast_to(value, place.shape).ravel()
        for value in (height_steps(stamp.top), height_steps(stamp.base), stamp.profile)
    )
    return place.ravel(), top, base, profile, np.repeat(chosen.astype(np.int32), place.shape[1])


def lift_crowns(canvas: Canvas, over: np.ndarray, clearance: float) -> None:
    """Cut off what hangs lower than `clearance` metres over some cells, `over` bool `[n, n]`, as traffic does."""
    place = np.flatnonzero(over & (canvas.canopy_top > 0))
    lowest = height_steps(clearance)
    top, base = canvas.canopy_top.ravel(), canvas.canopy_base.ravel()
    base[place] = np.maximum(base[place], lowest)
    gone = place[top[place] <= base[place]]
    top[gone] = base[gone] = 0
