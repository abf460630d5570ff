"""Pictures to work on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def random_images(count: int, height: int, width: int) -> Tensor:
    """uint8 [count, 3, height, width], smooth, with all levels."""
    coarse = torch.rand(count, 3, max(2, height // 8), max(2, width // 8))
    fine = interpolate(coarse, (height, width), mode="bilinear")
    return (255 * fine).byte()
