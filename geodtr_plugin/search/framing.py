"""Pictures of any projection, placed where they belong in the panorama that a network takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional

from .optics import Equirectangular, Projection

_FINER = 4  # points along each side of a network's pixel, which its transform then averages


@dataclass(frozen=True)
class Frame:
    """The panorama that a network takes, all around.

    Args:
        height: rows of the network's input.
        width: columns of the whole panorama.
        up: elevation of its upper edge, in degrees.
        down: elevation of its lower edge.
    """

    height: int
    width: int
    up: float = 90.0
    down: float = -90.0

    @property
    def projection(self) -> Equirectangular:
        """What it shows."""
        return Equirectangular(360.0, self.up, self.down)

    def place(self, pixels: Tensor, projection: Projection, heading: float = 0.0) -> Tensor:
        """Draw a picture into the frame, finer than the network sees it; the rest gets the colours of its row.

        Args:
            pixels: uint8 `[3, h, w]`.
            projection: of them.
            heading: where the middle of the picture looks, in degrees clockwise from the middle of the frame.

        Returns:
            uint8 `[3, 4 * height, 4 * width]`.
        """
        rows, columns = _FINER * self.height, _FINER * self.width
        small = self._reduced(pixels, projection)
        azimuth = np.radians(((np.arange(columns) + 0.5) / columns * 360 - heading) % 360 - 180)
        elevation = np.radians(self.up - (np.arange(rows) + 0.5) / rows * (self.up - self.down))
        x, y = np.broadcast_arrays(*projection.points(azimuth[None], elevation[:, None]))
        inside = torch.tensor((x >= 0) & (x <= 1) & (y >= 0) & (y <= 1))
        grid = torch.tensor(np.nan_to_num(2 * np.stack([x, y], axis=-1) - 1, nan=-2.0).clip(-2, 2), dtype=torch.float32)
        drawn = F.grid_sample(small[None].float(), grid[None], padding_mode="border", align_corners=False)[0]
        return _filled(drawn, inside).round().clamp(0, 255).to(torch.uint8)

    def _reduced(self, pixels: Tensor, projection: Projection) -> Tensor:
        """Return a picture that is no finer than the points that are taken of it: `[3, h, w]`, antialiased."""
        height, width = pixels.shape[-2:]
        rows = round(projection.rise / (self.up - self.down) * _FINER * self.height)
        columns = round(projection.span / 360 * _FINER * self.width)
        size = [min(height, max(1, rows)), min(width, max(1, columns))]
        return pixels if size == [height, width] else functional.resize(pixels, size, antialias=True)


def _filled(drawn: Tensor, inside: Tensor) -> Tensor:
    """Give the points outside the mean colour of those inside in their row, or in the nearest row that has some.

    So sky stays above and ground below; an edge that the scene has not would be one more thing to be wrong about.

    Args:
        drawn: float `[3, H, W]`.
        inside: bool `[H, W]`.
    """
    known = inside.sum(1)
    rows = torch.nonzero(known).flatten()
    if not len(rows):
        return torch.full_like(drawn, 128)
    means = (drawn * inside).sum(2)[:, rows] / known[rows]
    nearest = (torch.arange(len(known))[:, None] - rows).abs().argmin(1)
    return torch.where(inside, drawn, means[:, nearest, None])
