"""From uint8 batches to normalised network input: size, augmentation, normalisation, on the device of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from .headings import random_turns
from .image_transform import COLOURS, ImageTransform
from .misalignment import Misalignment
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
        maps: channels `[M, *image.size]` that every image gets behind its colours, such as the direction in which each
            pixel looks. They go with their pixels through every turn, roll and crop, and keep their values: colours
            and normalisation touch the first three channels alone. None: none.
    """

    mean: Tensor
    std: Tensor
    maps: Tensor | None

    def __init__(
        self,
        image: ImageTransform,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        maps: Tensor | None = None,
    ):
        super().__init__()
        if maps is not None and (maps.ndim != 3 or maps.shape[1:] != image.size):
            raise ValueError(f"Maps of images of {image.size} pixels are [M, *{image.size}], not {list(maps.shape)}.")
        self.image = image
        self.register_buffer("maps", maps, persistent=False)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return float32 `[B, 3 + M, h, w]`, normalised, of images `[B, 3, *, *]`, uint8 or float in [0, 1]."""
        return self.normalise_(self.image.crop(self.resized(images)))

    def resized(self, images: Tensor) -> Tensor:
        """Return a new tensor: the images `[B, 3, *, *]` as float32 in [0, 1] and of the network's size, then maps."""
        resized = self.image.on_device(images)
        if self.maps is not None:
            return torch.cat([resized, self.maps.expand(len(resized), -1, -1, -1)], 1)
        return resized.clone() if resized is images else resized

    def normalise_(self, images: Tensor) -> Tensor:
        """Subtract the mean from images `[B, 3 + M, h, w]` in [0, 1] and divide by the deviation, in place."""
        images[:, :COLOURS].sub_(self.mean).div_(self.std)
        return images

    def of_cropped(self) -> RoleTransform:
        """Return the transform of images that show the network's part of a panorama alone, and are not cut again."""
        maps = None if self.maps is None else self.image.crop(self.maps[None])[0]
        image = replace(self.image, panorama_width=None)
        return RoleTransform(image, self.mean.flatten().tolist(), self.std.flatten().tolist(), maps)

    def extra_repr(self) -> str:
        mean, std = ([round(value, 4) for value in buffer.flatten().tolist()] for buffer in (self.mean, self.std))
        maps = "" if self.maps is None else f", maps={len(self.maps)}"
        return f"{self.image}, mean={mean}, std={std}{maps}"


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
        turned: panoramas begin anywhere. They too are turned after the augmentation, and without their tiles.
        query_maps: channels that ground images get behind their colours, as `RoleTransform` describes them; the
            augmentation gets and returns them with the images.
        reference_maps: channels that aerial images get.
        misalign: what is done to each image by itself, after the augmentation, so that twins differ in it; None:
            nothing.

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
        turned: bool = False,
        query_maps: Tensor | None = None,
        reference_maps: Tensor | None = None,
        misalign: Misalignment | None = None,
    ):
        super().__init__()
        self.random_heading, self.turned = random_heading, turned
        self.query = RoleTransform(query, mean, std, query_maps)
        self.reference = RoleTransform(reference, mean, std, reference_maps)
        self.augment, self.misalign = augment, misalign
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
            query float32 `[multiplier * B, 3 + M, h, w]`, reference likewise, labels int64 `[multiplier * B]`.
        """
        made = Samples(self.query.resized(query), self.reference.resized(reference), labels)
        if self.augment is not None:
            made = Samples(*self.augment(*made[:3]))
        return self._finished(made)[:3]

    @torch.no_grad()
    def samples(self, query: Tensor, reference: Tensor, labels: Tensor, more: Tensor | None = None) -> Samples:
        """Transform one batch as `forward` does, and tell the layouts and turns that were drawn.

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
        return self._finished(made)

    def _finished(self, made: Samples) -> Samples:
        """Return samples misaligned, cut and normalised."""
        if self.turned:
            made = made._replace(ground=random_turns(made.ground))
        if self.misalign is not None:
            ground, aerial, turns = self.misalign.told(made.ground, made.aerial)
            made = made._replace(ground=ground, aerial=aerial, turns=turns)
        query = self.query.normalise_(self.query.image.crop(made.ground, self.random_heading))
        more = None if made.more is None else self.reference.normalise_(made.more)
        return made._replace(ground=query, aerial=self.reference.normalise_(made.aerial), more=more)
