"""The polar transform: an aerial tile unrolled around its centre, so that it resembles a ground panorama."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from ..utils.errors import NotSquareError


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # else a table made during evaluation could not be used in training
def _corners(size: int, height: int, width: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the four source pixels of every output pixel, as flat indices into a tile, and their weights.

    Returns:
        Index int64 `[4 * height * width]` and weight `[4, height * width]`; a source pixel outside the tile weighs 0.
    """
    rho = size / 2 * (height - 1 - torch.arange(height, dtype=torch.float64)[:, None]) / height
    theta = 2 * torch.pi * torch.arange(width, dtype=torch.float64) / width
    row = (size / 2 + rho * theta.cos()).flatten()
    column = (size / 2 - rho * theta.sin()).flatten()
    indices, weights = [], []
    for below in (0, 1):
        for beside in (0, 1):
            r, c = row.floor() + below, column.floor() + beside
            inside = (r >= 0) & (r < size) & (c >= 0) & (c < size)
            weights.append((1 - (row - r).abs()) * (1 - (column - c).abs()) * inside)
            indices.append((r.clamp(0, size - 1) * size + c.clamp(0, size - 1)).long())
    return torch.cat(indices).to(device), torch.stack(weights).to(device, dtype)


class PolarTransform(nn.Module):
    """The unrolling of square aerial tiles around their centre, so that they resemble panoramas.

    Output row i, column j shows the point at radius `S/2 * (H-1-i)/H` and azimuth `2 pi j / W`, counted from the south
    over the west: column 0 looks south, W/4 west, W/2 north, 3W/4 east. The bottom row is the camera, the top row the
    rim of the inscribed circle; the tile's corners are not used. Sampling is bilinear, without prefilter.

    Args:
        height: rows H of the output.
        width: columns W of the output.

    Source: Shi et al., NeurIPS 2019 (SAFA), section 3.1; GeoDTR+ uses it too.
    """

    def __init__(self, height: int, width: int):
        super().__init__()
        self.height, self.width = height, width

    def forward(self, aerial: Tensor) -> Tensor:
        """Unroll aerial tiles `[B, C, S, S]`, uint8 or float, to `[B, C, H, W]`, float, in the scale of the input.

        Raises:
            NotSquareError: the tiles are not square.
            ValueError: they are no batch.
        """
        if aerial.ndim != 4:
            raise ValueError(f"The polar transform takes tiles [B, C, S, S], not {list(aerial.shape)}")
        height, size = aerial.shape[-2:]
        if height != size:
            raise NotSquareError(height, size)
        # uint8 and half precision are interpolated in float32
        dtype = torch.promote_types(aerial.dtype, torch.float32)
        index, weights = _corners(size, self.height, self.width, aerial.device, dtype)
        pixels = aerial.flatten(2).gather(2, index.expand(*aerial.shape[:2], -1)).unflatten(2, (4, -1))
        polar = pixels[:, :, 0] * weights[0]
        for corner in range(1, 4):
            polar += pixels[:, :, corner] * weights[corner]
        return polar.unflatten(2, (self.height, self.width))

    def extra_repr(self) -> str:
        return f"height={self.height}, width={self.width}"
