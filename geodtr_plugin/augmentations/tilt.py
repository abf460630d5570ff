"""Panoramas of a camera that did not stand upright."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F


def tilted(panorama: np.ndarray, degrees: float, towards: float, height: float) -> np.ndarray:
    """Return the panorama that a tilted camera takes, uint8 `[H, W, 3]` both, resampled on the sphere.

    What lies beyond the upper or the lower edge is as at the edge.

    Args:
        panorama: of an upright camera, the full circle, its middle row the horizon.
        degrees: by which the camera's axis leans.
        towards: azimuth to which it leans, degrees clockwise of the middle column: 0 is a pitch, 90 a roll.
        height: what the panorama shows from its upper to its lower edge, degrees.
    """
    rows, columns = panorama.shape[:2]
    up = np.radians(height) * (0.5 - (np.arange(rows) + 0.5) / rows)[:, None]
    around = 2 * math.pi * ((np.arange(columns) + 0.5) / columns - 0.5) - math.radians(towards)
    ahead, aside, above = np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up) + 0 * around
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    ahead, above = ahead * cosine + above * sine, above * cosine - ahead * sine
    azimuth = (np.arctan2(aside, ahead) + math.radians(towards)) / (2 * math.pi)
    elevation = np.arcsin(np.clip(above, -1, 1)) / math.radians(height)
    across = ((azimuth + 0.5) % 1 * columns + 1) / (columns + 2)  # of a panorama with a column more on either side
    grid = torch.from_numpy(np.stack([2 * across - 1, -2 * elevation], -1).astype(np.float32))
    closed = torch.from_numpy(np.pad(panorama, ((0, 0), (1, 1), (0, 0)), "wrap").transpose(2, 0, 1).astype(np.float32))
    seen = F.grid_sample(closed[None], grid[None], "bilinear", "border", align_corners=False)[0]
    return seen.permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
