"""Sunlight: cast shadows, and the colours in which both cameras see a scene."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .canvas import HEIGHT_STEP, Canvas, strips
from .crowns import Trees
from .ground import Ground
from .seasons import Crowns, dress_crowns, dress_palette, lay_snow
from .styles import LightStyle, Look, PlantStyle

_LONGEST = 48.0  # metres: longer shadows are cut
_CLOUDED = 0.55  # share of a shadow's depth that is lost under a closed cover of clouds
_ROOF = (0.86, 0.22)  # brightness of a pitched roof's side, and what the sun from its front adds
_FINE = 8  # shadow heights are counted in HEIGHT_STEP / _FINE


@dataclass(frozen=True)
class Sight:
    """A scene as one season and one light show it.

    Attributes:
        look: the season and the light.
        azimuth: of the sun, degrees clockwise from north.
        crowns: the crowns in that season.
        canopy_top: uint8 `[n, n]`, their upper edges, steps of HEIGHT_STEP; 0 where none is.
        level: float32 `[n, n]`, share of the light that shadows leave.
    """

    look: Look
    azimuth: float
    crowns: Crowns
    canopy_top: np.ndarray
    level: np.ndarray


def towards(azimuth: float) -> tuple[float, float]:
    """Return the unit vector (east, south) towards a compass direction in degrees."""
    return math.sin(math.radians(azimuth)), -math.cos(math.radians(azimuth))


def look_at(
    canvas: Canvas, trees: Trees, ground: Ground, plants: PlantStyle, seen: np.ndarray, look: Look, azimuth: float
) -> Sight:
    """Return what a season and a light make of a finished canvas; for the crowns see `dress_crowns`."""
    crowns = dress_crowns(canvas, trees, ground, look.season, plants, seen)
    top = np.zeros_like(canvas.canopy_top)
    top.ravel()[crowns.place] = crowns.top
    shadow = cast_shadows(np.maximum(canvas.height, top), canvas.cell, azimuth, look.light.sun_height)
    dark = np.float32(look.light.shadow * (1 - _CLOUDED * look.light.clouds))
    return Sight(look, azimuth, crowns, top, np.where(shadow, 1 - dark, np.float32(1)))


def colour_ground(canvas: Canvas, ground: Ground, sight: Sight) -> np.ndarray:
    """Return the colours of a canvas without its crowns, uint8 `[n, n, 3]`."""
    palette = dress_palette(canvas, sight.look.season) * np.float32(sight.look.light.gain)
    roof = np.flatnonzero(canvas.roof)
    lit = canvas.shade * sight.level
    lit.ravel()[roof] *= _roof_light(canvas, roof, towards(sight.azimuth))
    return _mix(palette, lay_snow(canvas, ground, sight.look.season), lit)


def _roof_light(canvas: Canvas, roof: np.ndarray, sun: tuple[float, float]) -> np.ndarray:
    """Return the brightness of cells of pitched roofs, float32 `[K]`: the side towards the sun is the brighter."""
    facing = np.array([east * sun[0] + south * sun[1] for east, south in canvas.facings], np.float32)
    side = 3 - 2 * canvas.roof.ravel().take(roof).astype(np.float32)
    return np.float32(_ROOF[0]) + np.float32(_ROOF[1]) * facing.take(canvas.building.ravel().take(roof)) * side


def colour_crowns(canvas: Canvas, trees: Trees, ground: Ground, sight: Sight) -> np.ndarray:
    """Return the colours of the crowns' cells, uint8 `[K, 3]`: brighter in the middle and towards the sun."""
    crowns, sun = sight.crowns, towards(sight.azimuth)
    rows = crowns.place // canvas.n - trees.rows.take(crowns.tree)
    columns = crowns.place % canvas.n - trees.columns.take(crowns.tree)
    slope = (columns * sun[0] + rows * sun[1]) * (canvas.cell * 0.22 / trees.radius).take(crowns.tree)
    light = ((1 + slope) * (0.75 + 0.35 * canvas.leaf.ravel().take(crowns.place))).astype(np.float32)
    fine, grain = (noise.ravel().take(crowns.place) for noise in (ground.fine, ground.grain))
    light *= 1 + np.float32(0.10) * fine + np.float32(0.13) * grain
    tint = crowns.tint * np.float32(sight.look.light.gain)
    colour = tint.take(crowns.tree, axis=0)
    colour *= light[:, None]
    return np.clip(colour, 0, 255).astype(np.uint8)


def colour_aerial(canvas: Canvas, ground: Ground, sight: Sight, crowns: np.ndarray) -> np.ndarray:
    """Return what the aerial camera sees, uint8 `[n, n, 3]`; `crowns` are the colours of the crowns' cells."""
    picture = colour_ground(canvas, ground, sight)
    place = sight.crowns.place
    picture.reshape(-1, 3)[place] = crowns * sight.level.ravel()[place, None]
    return _develop(picture, sight.look.light)


def _mix(palette: np.ndarray, material: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return the colours of materials `[n, n]` at their brightness `[n, n]`, uint8 `[n, n, 3]`."""
    out = np.empty((*material.shape, 3), np.uint8)
    channels = np.ascontiguousarray(palette.T)
    for rows in strips(len(material)):
        number, lit = material[rows].astype(np.intp), level[rows]
        value = np.empty(lit.shape, np.float32)
        for channel, colours in enumerate(channels):
            np.take(colours, number, out=value, mode="clip")
            value *= lit
            np.clip(value, 0, 255, out=value)
            out[rows, :, channel] = value
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
