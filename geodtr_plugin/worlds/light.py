"""Sunlight: cast shadows, and the colours in which both cameras see the ground."""

from __future__ import annotations

import math

import numpy as np

from .canvas import HEIGHT_STEP, Canvas
from .styles import LightStyle

_LONGEST = 48.0  # metres: longer shadows are cut
_DARK = 0.45  # share of the light that a shadow takes under a clear sky
_FINE = 8  # shadow heights are counted in HEIGHT_STEP / _FINE


def towards(azimuth: float) -> tuple[float, float]:
    """Return the unit vector (east, south) towards a compass direction in degrees."""
    return math.sin(math.radians(azimuth)), -math.cos(math.radians(azimuth))


def colour(canvas: Canvas, from_above: np.ndarray, light: LightStyle, sun_azimuth: float) -> tuple:
    """Return the colours that the aerial and the ground camera see, uint8 `[n, n, 3]` each.

    Args:
        canvas: the finished rasters.
        from_above: uint16 `[n, n]`, materials that the aerial camera sees (see `draw_cars`).
        light: height of the sun, clouds, colours of the aerial camera.
        sun_azimuth: degrees clockwise from north.
    """
    shadow = cast_shadows(np.maximum(canvas.height, canvas.canopy_top), canvas.cell, sun_azimuth, light.sun_height)
    dark = np.float32(_DARK * (1 - 0.55 * light.clouds))
    level = np.where(shadow, 1 - dark, np.float32(1))
    lit = canvas.shade * level
    palette = canvas.palette()
    ground = _mix(palette, canvas.material, lit)
    aerial = ground.copy()
    moved = np.flatnonzero(canvas.material != from_above)
    aerial.reshape(-1, 3)[moved] = _mix(palette, from_above.ravel()[moved], lit.ravel()[moved])
    crowns = np.flatnonzero(canvas.canopy_top)
    aerial.reshape(-1, 3)[crowns] = canvas.canopy.reshape(-1, 3)[crowns] * level.ravel()[crowns, None]
    return _develop(aerial, light), ground


def _mix(palette: np.ndarray, material: np.ndarray, level: np.ndarray) -> np.ndarray:
    out = np.empty((*material.shape, 3), np.uint8)
    for channel in range(3):
        value = palette[:, channel].take(material) * level
        np.clip(value, 0, 255, out=value)
        out[..., channel] = value
    return out


def _develop(picture: np.ndarray, light: LightStyle) -> np.ndarray:
    """Apply gain and gamma of the aerial camera to a picture in place, and return it."""
    levels = np.arange(256) / 255
    for channel, gain in enumerate(light.aerial_gain):
        table = np.clip(255 * np.clip(levels * gain, 0, 1) ** light.aerial_gamma, 0, 255).astype(np.uint8)
        picture[..., channel] = table.take(picture[..., channel])
    return picture


def cast_shadows(height: np.ndarray, cell: float, azimuth: float, elevation: float) -> np.ndarray:
    """Return which cells lie in the shadow of something towards the sun, bool `[n, n]`.

    The highest shadow edge above a cell is a maximum over all distances towards the sun. It is built by doubling:
    the maximum over 2k steps is that over k steps, combined with its own copy k steps further on and k drops lower.

    Args:
        height: uint8 `[n, n]`, steps of HEIGHT_STEP.
        cell: metres along a cell.
        azimuth, elevation: direction and height of the sun, degrees.
    """
    ground = height.astype(np.int16) * _FINE
    east, south = towards(azimuth)
    drop = cell * math.tan(math.radians(elevation)) / HEIGHT_STEP * _FINE  # for each step of one cell
    longest = min(int(ground.max()) / drop, _LONGEST / cell)
    edge = _from(ground, south, east, drop)
    steps = 1
    while steps < longest:
        np.maximum(edge, _from(edge, south * steps, east * steps, drop * steps), out=edge)
        steps *= 2
    return edge > ground + _FINE


def _from(values: np.ndarray, rows: float, columns: float, drop: float) -> np.ndarray:
    """Return the values of cells some rows and columns further on, lowered by `drop`; 0 from outside."""
    n, i, j = len(values), round(rows), round(columns)
    out = np.zeros_like(values)
    if max(abs(i), abs(j)) < n:
        source = values[max(i, 0) : n + min(i, 0), max(j, 0) : n + min(j, 0)]
        out[max(-i, 0) : n + min(-i, 0), max(-j, 0) : n + min(-j, 0)] = source - np.int16(round(drop))
    return out
