"""What the authors of GeoDTR+ do with the images of a pair, written anew in torchvision's parts."""

from __future__ import annotations

import random

from PIL import Image
from torch import Tensor
from torchvision import transforms

from geodtr_plugin.augmentations.pipeline import IMAGENET_MEAN, IMAGENET_STD


def colours() -> transforms.Compose:
    """Return the colours of training, from an image of PIL to input `[3, H, W]`; the blur is vertical only."""
    return transforms.Compose([
        transforms.ColorJitter(0.3, 0.3, 0.3),
        transforms.RandomGrayscale(0.2),
        transforms.RandomPosterize(bits=4, p=0.2),
        transforms.GaussianBlur(kernel_size=(1, 5), sigma=(0.1, 5)),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip


def two_samples(panorama: Image.Image, tile: Image.Image, of_panorama, of_tile) -> list[tuple[Tensor, Tensor]]:
    """Return a pair twice, under two of the eight layouts, each with colours of its own: input `[3, H, W]` of both."""
    first = random.randrange(8)
    second = (first + random.randrange(1, 8)) % 8
    return [_turned(of_panorama(panorama), of_tile(tile), layout) for layout in (first, second)]


def _turned(panorama: Tensor, tile: Tensor, layout: int) -> tuple[Tensor, Tensor]:
    if layout >= 4:
        panorama, tile = panorama.flip(2), tile.flip(2)
    turns = layout % 4
    return panorama.roll(round(turns * panorama.shape[2] / 4), 2), tile.rot90(-turns, (1, 2))
