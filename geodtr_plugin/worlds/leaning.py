"""Leaning roofs: what stands high is seen shifted in an aerial picture that was not taken straight from above."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .buildings import Facade
from .canvas import HEIGHT_STEP, Kind
from .scene import Scene

_CROWN_SIDE = 0.8  # brightness of a tree's side, relative to its top


def leaning(scene: Scene, lean: tuple[float, float]) -> Scene:
    """Return the scene with another aerial picture, in which all that stands leans; the ground stays where it is.

    Args:
        scene: what is seen.
        lean: metres (east, north) by which a point moves for each metre of its height.
    """
    amount = float(np.hypot(*lean))
    tall = scene.surface
    shifts = int(tall.max() * HEIGHT_STEP * amount / scene.cell)  # cells by which the highest point moves
    if not shifts:
        return scene
    each = scene.cell / amount / HEIGHT_STEP  # steps of height for each cell of shift
    moved = [(-round(s * lean[1] / amount), round(s * lean[0] / amount)) for s in range(shifts + 1)]
    highest = np.zeros_like(tall)  # by how many cells what is seen at a cell was moved
    for shift in range(1, min(shifts, 255) + 1):
        here, there = _windows(len(tall), *moved[shift])
        np.copyto(highest[here], np.uint8(shift), where=tall[there] >= np.uint8(min(np.ceil(shift * each), 255)))
    seen = np.flatnonzero(highest)
    shift = highest.ravel()[seen]
    source = seen - np.array([row * scene.n + column for row, column in moved])[shift]
    aerial = scene.aerial.copy()
    colours = aerial.reshape(-1, 3)[source]
    below = tall.ravel()[source] - shift * each  # steps below the edge of the roof
    sides = np.flatnonzero(below > each + 1)
    colours[sides] = _sides(scene, source[sides], colours[sides])
    aerial.reshape(-1, 3)[seen] = colours
    return replace(scene, aerial=aerial)


def _windows(n: int, rows: int, columns: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the cells that something moves to by some rows and columns, and those that it comes from."""
    here = tuple(slice(max(by, 0), n + min(by, 0)) for by in (rows, columns))
    there = tuple(slice(max(-by, 0), n + min(-by, 0)) for by in (rows, columns))
    return here, there


def _sides(scene: Scene, cell: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return the colours of walls and of the sides of crowns, uint8 `[K, 3]`.

    Args:
        cell: int `[K]`, flat indices of where they stand.
        above: uint8 `[K, 3]`, colours of their tops.
    """
    colours = above * np.float32(_CROWN_SIDE)
    wall = np.flatnonzero(scene.kind.ravel()[cell] == Kind.BUILDING)
    plaster = scene.facades[scene.building.ravel()[cell[wall]], Facade.COLOUR : Facade.COLOUR + 3]
    colours[wall] = plaster * (scene.facade_light.ravel()[cell[wall], None] / np.float32(255))
    return np.clip(colours, 0, 255).astype(np.uint8)
