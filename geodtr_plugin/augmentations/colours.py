"""The operations of the semantic augmentation on whole batches, in few kernels: a GPU waits for their start.

Brightness, contrast and saturation are one operation, a blend of an image with something grayer, so that every image of
a batch has its own order of the three and none has to be picked out. Kornia takes more kernels, and one order a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601
BRIGHTNESS, CONTRAST, SATURATION = range(3)  # in this order factors are given
POSTERIZE_BITS = 4
# 5 rows x 1 column: the authors' torchvision (1, 5) counts the width first, so their blur is vertical
BLUR_ROWS = 5


def luma(images: Tensor) -> Tensor:
    """Return the brightness `[..., 1, H, W]` of images `[..., 3, H, W]`."""
    red, green, blue = (images[..., channel : channel + 1, :, :] for channel in range(3))
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def blend(images: Tensor, factor: Tensor, to_mean: Tensor | float, to_luma: Tensor | float) -> Tensor:
    """Multiply the distance of images `[B, 3, H, W]` in [0, 1] from a base by a factor, and clamp them.

    These are PIL's definitions: brightness is the distance from black, contrast that from the mean of the image's luma,
    saturation that of a pixel from its own luma.

    Args:
        images: to be changed.
        factor: `[B, 1, 1, 1]`, below 1 towards the base.
        to_mean: 1 where the base is the mean luma, else 0; `[B, 1, 1, 1]` or one for all.
        to_luma: 1 where it is the pixel's own luma, else 0, likewise.
    """
    own = luma(images)
    base = torch.lerp(own.mean((2, 3), keepdim=True) * to_mean, own, to_luma)
    return torch.lerp(base, images, factor).clamp_(0, 1)


def jitter(images: Tensor, factors: Tensor, order: tuple[int, ...] = (BRIGHTNESS, CONTRAST, SATURATION)) -> Tensor:
    """Multiply brightness, contrast and saturation of images `[B, 3, H, W]` by factors `[B, 3]`, in one order."""
    for operation in order:
        factor = factors[:, operation, None, None, None]
        images = blend(images, factor, float(operation == CONTRAST), float(operation == SATURATION))
    return images


def to_gray(images: Tensor) -> Tensor:
    """Make the three channels of images `[B, 3, H, W]` equal."""
    return luma(images).expand_as(images)


def posterize_(images: Tensor) -> Tensor:
    """Keep the upper 4 bits of the 8 of images `[..., 3, H, W]` in [0, 1], in place."""
    step = 2 ** (8 - POSTERIZE_BITS)
    # the hair keeps a level that division by 255 has rounded down
    return images.mul_(255 / step).add_(1e-4).floor_().mul_(step / 255)


def posterize(images: Tensor) -> Tensor:
    """Return images `[B, 3, H, W]` in [0, 1] with the upper 4 bits of their 8."""
    return posterize_(images.clone())


def blur_weights(sigma: Tensor) -> Tensor:
    """Return the weights `[B, 5]` of the rows around a pixel, of sum 1: Gaussians of sigma `[B]`, in pixels."""
    rows = torch.arange(BLUR_ROWS) - BLUR_ROWS // 2
    weights = torch.exp(-0.5 * (rows / sigma[:, None]) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur images `[B, 3, H, W]` along their columns by sigma `[B]` on the CPU; beyond the edge they are mirrored."""
    from kornia.filters import filter2d

    weights = blur_weights(sigma).to(images.device, non_blocking=True)
    return filter2d(images, weights[:, :, None], "reflect")
