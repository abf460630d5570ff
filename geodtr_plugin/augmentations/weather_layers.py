"""What corruptions put in front of an image, and the filters that they share; arrays are float32 in 0..1."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

_GREY = np.float32((0.299, 0.587, 0.114))  # weights of red, green and blue in brightness
_ICE = np.float32((0.80, 0.88, 1.0))  # tint of ice
_NEEDLES = 3  # directions in which the crystals of a pane grow


def grey(x: np.ndarray) -> np.ndarray:
    """Return the brightness of colours `[H, W, 3]`, `[H, W, 1]`."""
    return (x @ _GREY)[..., None]


def disk(radius: int, blur: float) -> np.ndarray:
    """Return a disk whose entries add up to 1, `[k, k]`, its edge softened by `blur` pixels."""
    reach = max(8, radius)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = (rows**2 + columns**2 <= radius**2).astype(np.float32)
    return gaussian_filter(inside / inside.sum(), blur, truncate=(1 if radius <= 8 else 2) / blur)


def filtered(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return an image `[H, W, C]` filtered by a kernel `[k, k]`, mirrored at its edges."""
    reach = len(kernel) // 2
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)), "reflect")
    channels = torch.from_numpy(np.ascontiguousarray(padded.transpose(2, 0, 1)))[:, None]
    return F.conv2d(channels, torch.from_numpy(kernel)[None, None])[:, 0].permute(1, 2, 0).numpy()


def smeared(x: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Return an image `[H, W, C]` smeared to one side: half a normal curve along a direction, edges repeated.

    Args:
        radius: half of the steps of one pixel that are taken.
        sigma: spread of their weights, pixels.
        degrees: of the direction; 0 is along the rows.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    down = np.rint(steps * math.sin(math.radians(degrees))).astype(int)
    right = np.rint(steps * math.cos(math.radians(degrees))).astype(int)
    reach, (height, width) = 2 * radius, x.shape[:2]
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)), "edge")
    total = np.zeros_like(x, np.float32)
    for weight, i, j in zip(weights, down, right):
        total += np.float32(weight) * padded[reach + i : reach + i + height, reach + j : reach + j + width]
    return total


def plasma(size: tuple[int, int], decay: float, rng: np.random.Generator) -> np.ndarray:
    """Return clouds, `[H, W]` in 0..1: noise of all scales, of which each finer one is decay^2 times weaker.

    Every scale is midway between the points of the one before it, moved by a random amount.
    """
    side = 2 ** math.ceil(math.log2(max(size)))
    clouds, amount, points = torch.zeros(1, 1, 1, 1), 1.0, 1
    while points < side:
        points, amount = 2 * points, amount / decay**2
        around = F.pad(clouds, (0, 1, 0, 1), "circular")
        clouds = F.interpolate(around, (points + 1, points + 1), mode="bilinear", align_corners=True)[..., :-1, :-1]
        clouds = clouds + amount * torch.from_numpy(rng.uniform(-1, 1, (1, 1, points, points)).astype(np.float32))
    field = clouds[0, 0].numpy()
    return ((field - field.min()) / (field.max() - field.min()))[: size[0], : size[1]]


def frozen(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return ice on a pane, `[H, W, 3]`: needles that grow in a few directions, in patches, thicker at the edges."""
    needles = np.zeros(size, np.float32)
    for turn in rng.uniform(0, 180) + 180 / _NEEDLES * np.arange(_NEEDLES):
        seeds = (rng.random((*size, 1), np.float32) > 0.985).astype(np.float32)
        needles = np.maximum(needles, smeared(seeds, 12, 9, turn)[..., 0])
    needles = np.clip(needles / np.quantile(needles, 0.99), 0, 1)
    rows, columns = (np.abs(np.linspace(-1, 1, side, dtype=np.float32)) for side in size)
    thick = np.clip(1.6 * plasma(size, 1.5, rng) - 0.2 + 0.35 * np.maximum(rows[:, None], columns) ** 4, 0, 1)
    return np.clip(thick * (0.5 + 0.5 * needles) + 0.3 * needles, 0, 1)[..., None] * _ICE
