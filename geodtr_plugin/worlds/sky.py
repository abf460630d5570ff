"""The sky around a scene: gradient, clouds, glow of the sun, a skyline of hills."""

from __future__ import annotations

import math

import numpy as np

from .scene import Scene
from .styles import LightStyle, Style

_KNOTS = 14  # random values around the horizon that clouds are blended from
_BANDS = 5.0  # and from the horizon up
_RIDGE_KNOTS = 40
_GAPS, _CROWNS = 24, 150  # random values around the horizon that far woods, and their crowns, are blended from
_FAR = 110.0  # metres to these woods


def make_sky(scene: Scene, number: int, elevation: np.ndarray, width: int) -> np.ndarray:
    """Return one of the scene's skies, turned together with the scene, float32 `[rows, width, 3]` in 0..255.

    Args:
        scene: what the sky hangs over.
        number: which of its skies.
        elevation: `[rows]`, radians above the horizon, of the pixel rows from top to bottom.
        width: columns of a full circle; column width / 2 is north.
    """
    rng = np.random.default_rng([scene.seed, number])
    sky = _gradient(scene.style.light, elevation, width)
    sky += _glow(scene, width)
    _add_clouds(sky, scene.style.light, rng)
    _add_hills(sky, scene.style.light, elevation, rng)
    if scene.style.light.treeline:
        _add_trees(sky, scene.style, elevation, rng)
    if scene.mirrored:
        sky = sky[:, ::-1]
    return np.ascontiguousarray(np.roll(sky, round(scene.turns * width / 4), axis=1))


def _gradient(light: LightStyle, elevation: np.ndarray, width: int) -> np.ndarray:
    height = np.clip(elevation / math.radians(40), 0, 1)[:, None, None].astype(np.float32) ** np.float32(0.7)
    low, high = (np.array(colour, np.float32) for colour in (light.horizon, light.zenith))
    return np.repeat(low + (high - low) * height, width, axis=1)


def _glow(scene: Scene, width: int) -> np.ndarray:
    azimuth = (np.arange(width) + 0.5) / width * 2 * math.pi - math.pi
    away = (azimuth - math.radians(scene.sun_azimuth) + math.pi) % (2 * math.pi) - math.pi
    strength = 40 * (1 - 0.8 * scene.style.light.clouds)
    return (strength * np.exp(-((away / 0.7) ** 2))).astype(np.float32)[None, :, None]


def _circle(values: np.ndarray, width: int) -> np.ndarray:
    """Return values `[..., knots]` blended around the full circle, `[..., width]`."""
    closed = np.concatenate([values, values[..., :1]], axis=-1)
    position = (np.arange(width) + 0.5) / width * values.shape[-1]
    below = position.astype(np.intp)
    share = (position - below).astype(np.float32)
    share = share * share * (3 - 2 * share)
    return closed[..., below] * (1 - share) + closed[..., below + 1] * share


def _add_clouds(sky: np.ndarray, light: LightStyle, rng: np.random.Generator) -> None:
    """Add two scales of puffs over the gradient, in place."""
    rows, width = sky.shape[:2]
    puffs = np.zeros((rows, width), np.float32)
    for scale, weight in ((1, 0.75), (3, 0.4)):
        lattice = rng.standard_normal((int(_BANDS) * scale + 2, _KNOTS * scale), dtype=np.float32)
        around = _circle(lattice, width)
        position = np.arange(rows) / max(rows, 1) * _BANDS * scale
        below = position.astype(np.intp)
        share = (position - below).astype(np.float32)[:, None]
        puffs += np.float32(weight) * (around[below] * (1 - share) + around[below + 1] * share)
    opacity = 0.85 * np.clip(puffs * 0.6 + (light.clouds - 0.5), 0, 1)[..., None]
    sky += opacity * ((0.92 + 0.04 * puffs)[..., None] * np.array(light.cloud, np.float32) - sky)


def _add_hills(sky: np.ndarray, light: LightStyle, elevation: np.ndarray, rng: np.random.Generator) -> None:
    """Add a hazy silhouette along the horizon, in place."""
    ridge = light.hills * (1 + 0.45 * _circle(rng.standard_normal(_RIDGE_KNOTS), sky.shape[1]))
    hidden = np.degrees(elevation)[:, None] < ridge
    tone = np.array(light.haze, np.float32) * np.array((0.74, 0.80, 0.82), np.float32)
    sky[hidden] = 0.25 * np.array(light.haze, np.float32) + 0.75 * tone


def _add_trees(sky: np.ndarray, style: Style, elevation: np.ndarray, rng: np.random.Generator) -> None:
    """Add the far edge of woods and gardens along the horizon, in the colours of the season, in place."""
    width = sky.shape[1]
    gaps, tops = _circle(rng.standard_normal(_GAPS), width), _circle(rng.standard_normal(_CROWNS), width)
    ridge = style.light.treeline * (1 + 0.6 * gaps + 0.3 * tops)
    season = style.season
    leaf = np.mean(style.plants.colours, axis=0) * season.leaves
    leaf = (leaf * (1 - 0.7 * season.bare) + np.array((118, 106, 95)) * 0.7 * season.bare) * style.light.gain
    clear = math.exp(-_FAR / style.light.sight)  # share of their colour that the haze leaves
    speckle = 1 + 0.12 * rng.standard_normal(sky.shape[:2])
    tone = (0.8 * clear * speckle[..., None] * leaf + (1 - clear) * np.array(style.light.haze)).astype(np.float32)
    hidden = np.degrees(elevation)[:, None] < ridge
    sky[hidden] = tone[hidden]
