"""Smooth random fields, the same in metres at every resolution."""

from __future__ import annotations

import math

import numpy as np


def smooth_noise(rng: np.random.Generator, size: float, n: int, wavelength: float) -> np.ndarray:
    """Return a smooth random field of mean 0 and a spread of about 1, float32 `[n, n]`.

    Args:
        rng: source of the field; what is drawn depends on `size` and `wavelength` only.
        size: metres along a side.
        n: cells along a side.
        wavelength: metres between the random values that are blended.
    """
    knots = math.ceil(size / wavelength) + 2
    lattice = rng.standard_normal((knots, knots), dtype=np.float32) * np.float32(1.4)  # blending shrinks the spread
    position = (np.arange(n) + 0.5) * (size / n / wavelength)
    return _stretch(np.ascontiguousarray(_stretch(lattice, position).T), position)


def _stretch(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return the rows of `values` at fractional positions, blended smoothly."""
    below = position.astype(np.intp)
    share = (position - below).astype(np.float32)
    share = (share * share * (3 - 2 * share))[:, None]
    out = np.diff(values, axis=0)[below]
    out *= share
    out += values[below]
    return out


def grain(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return white noise of mean 0 and spread 1, float32 `[n, n]` (from bytes: an order faster than normal draws)."""
    raw = np.frombuffer(rng.bytes(n * n), dtype=np.uint8).reshape(n, n)
    return (np.arange(256, dtype=np.float32) / np.float32(73.9) - np.float32(1.7253)).take(raw)
