"""What cameras of a wide world add to the exact pictures: stitching, lenses, light, sensors, compression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .capture import apply_tones, draw_tones
from .effects import compress, grain, quantized, sharpen, smooth_around, tint, warp
from .spans import Spans

_FARTHEST = 2.0  # standard deviations at which the lenses' differences are clipped
_MEDIUM = 110.0  # level that exposure aims at
_REACH = 64, 96  # height of a panorama and of a tile at which blur reaches one pixel; it reaches further in larger ones


@dataclass(frozen=True)
class Stitch:
    """How the columns of a panorama lie, float or int `[W]` each.

    Attributes:
        columns: column of the upright panorama that each column shows.
        rise: degrees by which what it shows is moved up.
        gain: what it is multiplied by.
        across: place within its lens, from -1 to 1.
    """

    columns: np.ndarray
    rise: np.ndarray
    gain: np.ndarray
    across: np.ndarray


def highest_rise(spans: Spans, realism: float) -> float:
    """Return the degrees by which a column of a panorama is moved up or down at most."""
    return realism * (max(spans.tilt) + _FARTHEST * max(spans.seam_shift))


def draw_stitch(rng: np.random.Generator, width: int, heading: float, realism: float, spans: Spans) -> Stitch:
    """Draw how a panorama of `width` columns, turned by `heading` degrees, was put together from several pictures."""
    lenses = int(rng.integers(*spans.lenses, endpoint=True))
    place = (np.arange(width) / width + rng.random()) % 1 * lenses
    lens = place.astype(np.intp)
    high, wide, gains = np.clip(rng.standard_normal((3, lenses)), -_FARTHEST, _FARTHEST) * realism
    shift = rng.uniform(*spans.seam_shift)
    columns = np.arange(width) - round(heading / 360 * width) + np.rint(wide * shift / 360 * width).astype(int)[lens]
    tilt, towards = realism * rng.uniform(*spans.tilt), rng.uniform(0, 2 * math.pi)
    rise = tilt * np.cos(np.arange(width) / width * 2 * math.pi - towards) + (high * shift)[lens]
    gain = np.exp(gains * rng.uniform(*spans.seam_gain) * rng.random())[lens]
    gain = smooth_around(gain, round(rng.uniform(*spans.seam_width) * width / 2))
    return Stitch(columns % width, rise, gain.astype(np.float32), (2 * (place - lens) - 1).astype(np.float32))


def stitch(picture: np.ndarray, how: Stitch, height: int, degrees: float) -> np.ndarray:
    """Return a panorama put together, float32 `[height, W, 3]`.

    Args:
        picture: uint8 `[H, W, 3]`, upright, with as many more rows above as below.
        height: rows of the result.
        degrees: height of a row.
    """
    padding = (len(picture) - height) / 2
    return warp(picture, how.columns, padding + how.rise / degrees, height) * how.gain[:, None]


def add_lens(
    picture: np.ndarray, how: Stitch, sun: float, rng: np.random.Generator, realism: float, spans: Spans
) -> np.ndarray:
    """Return a panorama `[H, W, 3]` with dark corners, a burnt-out sky, and a patch over the camera's mount.

    Args:
        sun: column in which the sun stands.
    """
    height, width = picture.shape[:2]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]  # from the upper to the lower edge
    corners = np.float32(realism * rng.uniform(*spans.vignette) / 2) * (how.across**2 + down**2)
    away = (np.arange(width) - sun + width / 2) % width / width - 0.5  # of the circle
    burnt = min(1.0, realism * rng.uniform(*spans.flare)) * np.exp(-((away / rng.uniform(0.05, 0.2)) ** 2))
    share = (burnt * np.clip(0.3 - down, 0, 1)).astype(np.float32)
    picture = picture * (1 - corners)[..., None]
    share *= np.minimum(picture[..., 1] / 255, 1)  # what is bright burns out first
    picture += share[..., None] * (255 - picture)
    rows = round(realism * rng.uniform(*spans.cap) * height * (rng.random() < spans.capped))
    kind, level = rng.integers(3), rng.uniform(10, 130)
    if rows and rows < height:
        blurred = picture[-rows:].mean(axis=(0, 1) if kind == 0 else 0)
        picture[-rows:] = blurred if kind < 2 else np.float32(level)
    return picture


def metered(picture: np.ndarray, strength: float) -> np.ndarray:
    """Return the level that exposure makes of each level, intp `[256]`: longer in the night, shorter in the snow.

    Args:
        picture: uint8 `[H, W, 3]`.
        strength: 1 brings its mean to medium brightness, 0 leaves it as it is.
    """
    gain = (_MEDIUM / max(1.0, float(picture.mean()))) ** strength
    return np.rint(np.minimum(np.arange(256) * gain, 255)).astype(np.intp)


def develop(picture: np.ndarray, rng: np.random.Generator, realism: float, spans: Spans, around: bool) -> np.ndarray:
    """Return what a camera stores of a picture, uint8 `[H, W, 3]` both: colours, haze, sharpness, noise, compression.

    Args:
        around: it is a panorama.
    """
    tones = draw_tones(rng, realism, spans.tones, spans.cast)[metered(picture, min(1.0, realism * spans.metering))]
    picture = apply_tones(picture, tones).astype(np.float32)
    saturation = rng.uniform(*spans.saturation) ** realism
    haze = rng.uniform(150, 240) * (1 + 0.06 * rng.standard_normal(3))
    picture = tint(picture, saturation, haze, realism * rng.uniform(*spans.veil) * rng.random())
    sharpness = realism * rng.uniform(*spans.sharpness)
    for _ in range(max(1, round(len(picture) / _REACH[not around]))):
        picture = sharpen(picture, max(sharpness, -0.2), around)
    noise = realism * rng.uniform(*spans.noise) * rng.random()
    picture = picture + np.float32(noise) * grain(picture.shape, rng)
    quality = (rng.uniform(*spans.quality) / 100) ** (realism * (rng.random() < spans.compressed))
    return compress(quantized(picture), round(100 * quality))
