"""The operations of the semantic augmentation for one image on a CPU: in place, so that it stays in the CPU's cache.

The operations on whole batches write every step to memory, and do for all images what few of them need, which is right
for a GPU; on a CPU they take two to three times as long as these, whether for one image at a time or for all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .colours import BLUR_ROWS, BRIGHTNESS, CONTRAST, luma


def colour_(image: Tensor, order: tuple[int, ...], factors: list[float]) -> Tensor:
    """Change brightness, contrast and saturation of an image `[3, H, W]` in [0, 1], in `order`, in place."""
    for operation in order:
        factor = factors[operation]
        if operation == BRIGHTNESS:
            image.mul_(factor)
        else:
            # away from the mean grey level, or from the pixel's own; a factor below 1 goes towards it
            gray = luma(image)
            image.lerp_(gray.mean() if operation == CONTRAST else gray, 1 - factor)
        if factor > 1:
            image.clamp_(0, 1)
    return image


def blur_rows(image: Tensor, sigma: float, out: Tensor) -> Tensor:
    """Write an image `[3, H, W]`, blurred along its columns by a Gaussian of 5 rows, to `out`, and return it."""
    half = BLUR_ROWS // 2
    weights = [math.exp(-0.5 * (row / sigma) ** 2) for row in range(-half, half + 1)]
    weights = [weight / sum(weights) for weight in weights]
    height = image.shape[1]
    torch.mul(image, weights[half], out=out)
    for shift in range(1, half + 1):
        weight = weights[half + shift]
        out[:, shift:].add_(image[:, :-shift], alpha=weight)
        out[:, :-shift].add_(image[:, shift:], alpha=weight)
        for row in range(shift):  # beyond the edge the image is mirrored, the edge itself not repeated
            out[:, row].add_(image[:, shift - row], alpha=weight)
            out[:, height - 1 - row].add_(image[:, height - 1 - (shift - row)], alpha=weight)
    return out
