"""What the authors of GeoDTR+ do with an image, in torchvision's parts."""

from __future__ import annotations

from torchvision import transforms

from geodtr_plugin.augmentations.pipeline import IMAGENET_MEAN, IMAGENET_STD


def authors_colours() -> transforms.Compose:
    """The colours of training, from an image of PIL to normalised input [3, H, W]; the blur is vertical only."""
    return transforms.Compose([
        transforms.ColorJitter(0.3, 0.3, 0.3),
        transforms.RandomGrayscale(0.2),
        transforms.RandomPosterize(bits=4, p=0.2),
        transforms.GaussianBlur(kernel_size=(1, 5), sigma=(0.1, 5)),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ])  # fmt: skip
