"""The rasters of a scene while it is being drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from enum import IntEnum

import numpy as np

_STRIP = 48  # rows
HEIGHT_STEP = 0.25  # metres that one step of a uint8 height stands for: up to 63.75 m


class Kind(IntEnum):
    """What stands on a cell."""

    GROUND = 0
    BUILDING = 1
    TRUNK = 2
    CAR = 3
    HEDGE = 4


class Surface(IntEnum):
    """What a material is of: seasons change each in its own way."""

    OTHER = 0
    GRASS = 1
    LEAF = 2
    ROAD = 3  # with its paint
    WALK = 4
    ROOF = 5
    WATER = 6
    UPRIGHT = 7  # trunks, poles, fences: no snow stays on them


class Palette:
    """The materials that a scene is painted in: a colour and a surface each."""

    def __init__(self) -> None:
        self._colours: list[np.ndarray] = []
        self._surfaces: list[np.ndarray] = []
        self._count = 0

    def add(self, colours: np.ndarray | tuple, surface: Surface | np.ndarray) -> int:
        """Add one colour `[3]`, or several `[..., 3]` of one surface or of one each; return the number of the first."""
        colours = np.asarray(colours, np.float32).reshape(-1, 3)
        first = self._count
        self._colours.append(colours)
        self._surfaces.append(np.broadcast_to(np.ravel(surface), len(colours)).astype(np.uint8))
        self._count += len(colours)
        return first

    @property
    def colours(self) -> np.ndarray:
        """Colours of all materials, float32 `[K, 3]` in 0..255."""
        return np.concatenate(self._colours)

    @property
    def surfaces(self) -> np.ndarray:
        """Surfaces of all materials, uint8 `[K]`."""
        return np.concatenate(self._surfaces)


class Canvas:
    """Square rasters, row 0 in the north, column 0 in the west.

    Colours are painted as numbers of materials (one write for each cell instead of three) and become RGB at the end.

    Args:
        size: metres along a side.
        cell: metres along a cell.

    Attributes:
        n: cells along a side.
        x, y: float32 `[n]`, metres east and south of the scene's centre, of the cells' centres.
        material: uint16 `[n, n]`, index into the palette.
        shade: float32 `[n, n]`, brightness that the material is multiplied by.
        height, kind: uint8 `[n, n]`; heights in steps of HEIGHT_STEP.
        building: uint16 `[n, n]`, row of the building table, 0 for none.
        facade_place, facade_light: uint8 `[n, n]`, metres along the wall (steps of 0.25) and the wall's brightness.
        canopy_top, canopy_base: uint8 `[n, n]`, the crowns' vertical extent (steps of HEIGHT_STEP), 0 where none.
        tree: int32 `[n, n]`, number of the tree whose crown is on top.
        leaf: float32 `[n, n]`, how far up that crown its surface is, 0 at the rim to 1 in the middle.
        roof: uint8 `[n, n]`, side of a pitched roof: 1 away from the road (or to one side), 2 towards it; 0 elsewhere.
        facings: for each building, unit vector (east, south) across its roof's ridge; that of row 0 is of no building.
        blocked: bool `[n, n]`, where nothing more may be built or planted.
    """

    def __init__(self, size: float, cell: float):
        n = round(size / cell)
        self.size, self.cell, self.n = size, cell, n
        self.x = self.y = ((np.arange(n) + 0.5) * cell - size / 2).astype(np.float32)
        self.material = np.zeros((n, n), np.uint16)
        self.shade = np.ones((n, n), np.float32)
        self.height, self.kind, self.facade_place, self.facade_light, self.canopy_top, self.canopy_base = (
            np.zeros((n, n), np.uint8) for _ in range(6)
        )
        self.building = np.zeros((n, n), np.uint16)
        self.tree = np.zeros((n, n), np.int32)
        self.leaf = np.zeros((n, n), np.float32)
        self.roof = np.zeros((n, n), np.uint8)
        self.blocked = np.zeros((n, n), bool)
        self.palette = Palette()
        self.facings: list[tuple[float, float]] = [(0.0, 0.0)]

    def add(self, colours: np.ndarray | tuple, surface: Surface | np.ndarray = Surface.OTHER) -> int:
        """Put one colour `[3]`, or several `[..., 3]`, on the palette; return the material number of the first."""
        return self.palette.add(colours, surface)

    def fork(self, *own: str) -> Canvas:
        """Return a second canvas that has copies of the rasters named, and shares all else with this one."""
        other = copy(self)
        for name in own:
            setattr(other, name, getattr(self, name).copy())
        return other

    def index(self, metres: np.ndarray) -> np.ndarray:
        """Return rows or columns of the cells at positions in metres from the centre, of any shape, clipped."""
        cells = np.floor((np.asarray(metres) + self.size / 2) / self.cell).astype(np.intp)
        return np.clip(cells, 0, self.n - 1)

    def window(self, x: float, y: float, radius: float) -> tuple[slice, slice]:
        """Return the rows and columns that hold a disc; its centre and radius are in metres."""
        half = self.size / 2
        rows, columns = (
            slice(max(0, math.floor((at + half - radius) / self.cell)), math.ceil((at + half + radius) / self.cell) + 1)
            for at in (y, x)
        )
        return rows, columns

    def patch(self, x: float, y: float, radius: float, axis: tuple[float, float]) -> tuple:
        """Return rows and columns that hold a disc, and how far their cells are from its centre along two directions.

        Args:
            x, y, radius: the disc, metres.
            axis: first direction, a unit vector (east, south).

        Returns:
            The window, metres along `axis` and metres across it, float32 `[rows, columns]` each.
        """
        window, (east, south) = self.window(x, y, radius), axis
        dx, dy = self.x[window[1]][None, :] - np.float32(x), self.y[window[0]][:, None] - np.float32(y)
        return window, east * dx + south * dy, east * dy - south * dx


def strips(n: int) -> Iterator[slice]:
    """Yield slices that cut n rows into strips: several steps on one strip find it in the processor's cache."""
    for first in range(0, n, _STRIP):
        yield slice(first, min(first + _STRIP, n))


def height_steps(metres: np.ndarray | float) -> np.ndarray:
    """Return metres, of any shape, as uint8 steps of HEIGHT_STEP, clipped to 0..255."""
    return np.clip(np.asarray(metres) / HEIGHT_STEP, 0, 255).astype(np.uint8)
