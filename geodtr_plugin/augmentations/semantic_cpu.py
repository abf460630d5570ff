"""The operations of the semantic augmentation for one image on a CPU: in place, so that it stays in the CPU's cache.

Kornia makes new tensors in every step and takes factors as tensors, which is right for a GPU, where many images go at
once; on a CPU it takes about three times as long.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def colour_(image: Tensor, order: tuple[int, ...], factors: list[float]) -> Tensor:
    """Change brightness (0), contrast (1), saturation (2) of an image `[3, H, W]` in [0, 1], in `order`, in place."""
    for operation in order:
        factor = factors[operation]
        if operation == 0:
            image.mul_(factor)
        else:
            # away from the mean grey level, or from the pixel's own; a factor below 1 goes towards it
            gray = luma(image)
            image.lerp_(gray.mean() if operation == 1 else gray, 1 - factor)
        if factor > 1:
            image.clamp_(0, 1)
    return image


def luma(image: Tensor) -> Tensor:
    """Return the brightness `[H, W]` of an image `[3, H, W]`."""
    red, green, blue = LUMA
    return (image[0] * red).add_(image[1], alpha=green).add_(image[2], alpha=blue)


def posterize_(image: Tensor, bits: int) -> Tensor:
    """Keep the upper bits of the 8 of an image `[3, H, W]` in [0, 1], in place."""
    step = 2 ** (8 - bits)
    # the hair keeps a level that division by 255 has rounded down
    return image.mul_(255 / step).add_(1e-4).floor_().mul_(step / 255)


def blur_rows(image: Tensor, rows: int, sigma: float, out: Tensor) -> Tensor:
    """Write an image `[3, H, W]`, blurred along its columns by a Gaussian of so many rows, to `out`, and return it."""
    half = rows // 2
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
