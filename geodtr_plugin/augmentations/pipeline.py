"""From uint8 batches to normalised network input: size, augmentation, normalisation, on the device of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .image_transform import ImageTransform
from .samples import Samples

# channel statistics of ImageNet, in [0, 1]: what most pretrained trunks were trained with
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class RoleTransform(nn.Module):
    """Make network input of the stored images of one role, without augmentation: for evaluation, search and export.

    Args:
        image: how an image gets the network's size.
        mean: channel means, of images in [0, 1].
        std: channel standard deviations.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, image: ImageTransform, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ):
        super().__init__()
        self.image = image
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return float32 `[B, 3, h, w]`, normalised, of images `[B, 3, *, *]`, uint8 or float in [0, 1]."""
        return self.normalise_(self.image.crop(self.resized(images)))

    def resized(self, images: Tensor) -> Tensor:
        """Return a new tensor: the images `[B, 3, *, *]` as float32 in [0, 1] and of the network's size."""
        resized = self.image.on_device(images)
        return resized.clone() if resized is images else resized

    def normalise_(self, images: Tensor) -> Tensor:
        """Subtract the mean from images `[B, 3, h, w]` in [0, 1] and divide by the standard deviation, in place."""
        return images.sub_(self.mean).div_(self.std)

    def extra_repr(self) -> str:
        mean, std = ([round(value, 4) for value in buffer.flatten().tolist()] for buffer in (self.mean, self.std))
        return f"{self.image}, mean={mean}, std={std}"


class BatchTransform(nn.Module):
    """Make network input of a training batch: both roles' sizes, then the augmentation, then normalisation.

    Args:
        query: how the ground images get the network's size.
        reference: how the aerial images do.
        augment: a `CHSG`, or another function of (ground, aerial, labels) that gives the same, with attributes
            `polar` and `multiplier` (rows that come out for each pair) where they are not False and 1, and a method
            `samples` like CHSG's where `samples` below is to be used; None: none.
        mean: channel means, of images in [0, 1].
        std: channel standard deviations.
        random_heading: queries with a limited field of view look anywhere; False: at the panorama's centre. The cut
            comes after the augmentation, so that layouts turn the whole panorama.

    Raises:
        ValueError: the reference transform is polar and the augmentation is not, or the other way round.
    """

    def __init__(
        self,
        query: ImageTransform,
        reference: ImageTransform,
        augment: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        random_heading: bool = True,
    ):
        super().__init__()
        self.random_heading = random_heading
        self.query, self.reference = RoleTransform(query, mean, std), RoleTransform(reference, mean, std)
        self.augment = augment
        polar = getattr(augment, "polar", reference.polar)
        if polar != reference.polar:
            raise ValueError(
                f"The reference transform has polar={reference.polar}, but the augmentation was built for "
                f"polar={polar} images: build its LayoutSimulation with polar={reference.polar}."
            )

    @property
    def multiplier(self) -> int:
        """Rows that come out for each pair that goes in: 2 with twins."""
        return getattr(self.augment, "multiplier", 1)

    @torch.no_grad()
    def forward(self, query: Tensor, reference: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Transform one batch, which is on this transform's device.

        Args:
            query: ground images `[B, 3, *, *]`, uint8, or float in [0, 1].
            reference: aerial images `[B, 3, *, *]`, likewise.
            labels: int64 `[B]`.

        Returns:
            query float32 `[multiplier * B, 3, h, w]`, reference likewise, labels int64 `[multiplier * B]`.
        """
        made = Samples(self.query.resized(query), self.reference.resized(reference), labels)
        if self.augment is not None:
            made = Samples(*self.augment(*made[:3]))
        return self._normalised(made)[:3]

    @torch.no_grad()
    def samples(self, query: Tensor, reference: Tensor, labels: Tensor, more: Tensor | None = None) -> Samples:
        """Transform one batch as `forward` does, and tell the layouts that were drawn.

        Args:
            query, reference, labels: as in `forward`.
            more: one more aerial image for each pair, `[B, 3, *, *]`; it is turned as its pair is, and gets colours of
                its own.

        Raises:
            TypeError: the augmentation does not tell what it draws.
        """
        more = None if more is None else self.reference.resized(more)
        made = Samples(self.query.resized(query), self.reference.resized(reference), labels, None, more)
        if self.augment is not None:
            tell = getattr(self.augment, "samples", None)
            if tell is None:
                raise TypeError("The augmentation does not tell its layouts: it needs a method `samples` like CHSG's.")
            made = tell(*made[:3], more)
        return self._normalised(made)

    def _normalised(self, made: Samples) -> Samples:
        query = self.query.image.crop(made.ground, self.random_heading)
        more = None if made.more is None else self.reference.normalise_(made.more)
        query, reference = self.query.normalise_(query), self.reference.normalise_(made.aerial)
        return Samples(query, reference, made.labels, made.layouts, more)
