"""Colours of what a panorama's rays meet: walls with windows, roofs, cars, crowns."""

from __future__ import annotations

import numpy as np

from .buildings import PLACE_STEP, Facade
from .canvas import HEIGHT_STEP, Kind
from .scene import Scene

_WINDOW_HEIGHT = 1.35  # metres
_SHOP = (0.5, 2.9)  # metres: a shop window's lower and upper edge


def solid_colour(scene: Scene, cell: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the colour of what stands on some cells, float32 `[K, 3]` in 0..255.

    Args:
        cell: int `[K]`, flat indices.
        z: float32 `[K]`, metres above the ground at which it is seen.
    """
    colour = scene.ground.reshape(-1, 3)[cell].astype(np.float32)
    kind = scene.kind.ravel().take(cell)
    colour[kind == Kind.CAR] *= np.float32(0.9)
    hedge = np.flatnonzero(kind == Kind.HEDGE)
    colour[hedge] *= _leaves(colour[hedge], z[hedge])[:, None]
    building = scene.building.ravel().take(cell)
    wall = np.flatnonzero((kind == Kind.BUILDING) & (z < scene.facades[:, Facade.WALL].take(building)))
    if len(wall):
        gain = np.float32(scene.style.light.gain)
        colour[wall] = _wall_colour(scene, cell[wall], building[wall], z[wall]) * gain
    return colour


def _wall_colour(scene: Scene, cell: np.ndarray, building: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the colour of walls with windows, darker towards the ground and in the shade, float32 `[K, 3]`."""
    table = scene.facades.take(building, axis=0)
    place = scene.facade_place.ravel().take(cell) * np.float32(PLACE_STEP)
    bay, across = np.divmod(place, table[:, Facade.PITCH])
    storey, up = np.divmod(z, table[:, Facade.STOREY])
    glass = _is_window(table, across, up, z)
    light = scene.facade_light.ravel().take(cell).astype(np.float32) / 200
    light *= np.minimum(np.float32(0.82) + np.float32(0.06) * z, 1)
    plaster = (
        table[:, Facade.COLOUR : Facade.COLOUR + 3] * np.where(up < 0.18, np.float32(0.85), np.float32(1))[:, None]
    )
    # every window reflects a little differently
    sheen = (bay * 7 + storey * 13 + building * np.float32(3)) % 5
    pane = table[:, Facade.GLASS : Facade.GLASS + 3] * (np.float32(0.8) + np.float32(0.15) * sheen)[:, None]
    return np.where(glass[:, None], np.float32(0.15) * plaster + np.float32(0.85) * pane, plaster) * light[:, None]


def _is_window(table: np.ndarray, across: np.ndarray, up: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return which points of walls lie inside a window or a shop front of the ground floor, bool `[K]`."""
    pitch, sill = table[:, Facade.PITCH], table[:, Facade.SILL]
    window = np.abs(across - pitch / 2) < table[:, Facade.WINDOW] / 2
    window &= (up > sill) & (up < sill + _WINDOW_HEIGHT) & (z < table[:, Facade.WALL] - 0.4)
    shop = (table[:, Facade.SHOP] > 0) & (z > _SHOP[0]) & (z < _SHOP[1]) & (across > 0.3)
    return window | shop


def crown_colour(scene: Scene, cell: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the colour of crowns, lighter above, float32 `[K, 3]`; for the arguments see `solid_colour`."""
    colour = scene.canopy.reshape(-1, 3)[cell].astype(np.float32)
    top = scene.canopy_top.ravel().take(cell) * np.float32(HEIGHT_STEP)
    base = scene.canopy_base.ravel().take(cell) * np.float32(HEIGHT_STEP)
    up = np.clip((z - base) / np.maximum(top - base, np.float32(0.5)), 0, 1)
    return colour * ((np.float32(0.62) + np.float32(0.5) * up) * _leaves(colour, z))[:, None]


def _leaves(colour: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return speckle from a cell's colour and the height, which turns with the scene, float32 `[K]` in 0.8..1.2."""
    layer = np.floor(z * np.float32(1 / 0.35)).astype(np.int64) * 7919 + colour[:, 1].astype(np.int64) * 31
    return np.float32(0.8) + ((layer * 2654435 >> 7) & 255).astype(np.float32) * np.float32(0.4 / 255)
