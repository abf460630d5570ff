"""From uint8 batches to normalised network input: view, augmentation, normalisation, on the device of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .layout import LayoutSimulation
from .semantic import SemanticAugmentation
from .view import ViewTransform

# channel statistics of ImageNet, in [0, 1]: what most pretrained trunks were trained with
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class RoleTransform(nn.Module):
    """Stored images of one role to network input, without augmentation: for evaluation, search and export.

    Args:
        view: the role's view.
        mean: channel means, of images in [0, 1].
        std: channel standard deviations.
    """

    def __init__(self, view: ViewTransform, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD):
        super().__init__()
        self.view = view
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Args: images [B, 3, *, *], uint8 or float in [0, 1]. Returns: float32 [B, 3, h, w], normalised."""
        return self.normalise_(self.view.crop(self.to_view(images)))

    def to_view(self, images: Tensor) -> Tensor:
        """A new tensor: the images on this transform's device, float32 in [0, 1] and of the view's size."""
        viewed = self.view.on_device(images.to(self.mean.device, non_blocking=True))
        return viewed.clone() if viewed is images else viewed

    def normalise_(self, images: Tensor) -> Tensor:
        """Images [B, 3, h, w] in [0, 1], less the mean, over the standard deviation: in place."""
        return images.sub_(self.mean).div_(self.std)

    def extra_repr(self) -> str:
        mean, std = ([round(value, 4) for value in buffer.flatten().tolist()] for buffer in (self.mean, self.std))
        return f"{self.view}, mean={mean}, std={std}"


class PairAugmentation(nn.Module):
    """Layout simulation and semantic augmentation of a batch of pairs, without twins.

    Args:
        layout: applied to both images of a pair.
        semantic: drawn for every image; None: no colour change.
    """

    multiplier = 1  # rows that come out for each row that goes in
    keeps_labels_distinct = True

    def __init__(self, layout: LayoutSimulation, semantic: SemanticAugmentation | None = None):
        super().__init__()
        self.layout, self.semantic = layout, semantic

    @property
    def polar(self) -> bool:
        """Whether the aerial images are taken for polar-transformed ones."""
        return self.layout.polar

    def forward(self, ground: Tensor, aerial: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Args: ground and aerial [B, 3, *, *], float in [0, 1]; labels, returned as they are."""
        if self.semantic is not None:
            ground, aerial = self.semantic(ground), self.semantic(aerial)
        ground, aerial, _ = self.layout(ground, aerial)
        return ground, aerial, labels


class BatchTransform(nn.Module):
    """A training batch as loaded to network input: both views, then the augmentation, then normalisation.

    Args:
        query_view: how the ground images become network input.
        reference_view: how the aerial images do.
        augment: a `CHSG`, a pair (LayoutSimulation, SemanticAugmentation) for augmentation without twins, or None.
        mean: channel means, of images in [0, 1].
        std: channel standard deviations.
        random_heading: queries with a limited field of view look anywhere; False: at the panorama's centre. The cut
            comes after the augmentation, so that layouts turn the whole panorama.

    Raises:
        ValueError: the reference view is polar and the augmentation is not, or the other way round.
    """

    def __init__(
        self,
        query_view: ViewTransform,
        reference_view: ViewTransform,
        augment: Callable | tuple[LayoutSimulation, SemanticAugmentation | None] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        random_heading: bool = True,
    ):
        super().__init__()
        self.random_heading = random_heading
        self.query = RoleTransform(query_view, mean, std)
        self.reference = RoleTransform(reference_view, mean, std)
        self.augment = PairAugmentation(*augment) if isinstance(augment, (tuple, list)) else augment
        if self.augment is not None and self.augment.polar != reference_view.polar:
            raise ValueError(
                f"The reference view has polar={reference_view.polar}, but the augmentation was built for "
                f"polar={self.augment.polar} images: build its LayoutSimulation with polar={reference_view.polar}."
            )

    @property
    def multiplier(self) -> int:
        """Rows that come out for each pair that goes in: 2 with twins."""
        return 1 if self.augment is None else self.augment.multiplier

    @property
    def keeps_labels_distinct(self) -> bool:
        """Whether labels that are all different stay so; not known of augmentations that do not say it."""
        return self.augment is None or getattr(self.augment, "keeps_labels_distinct", False)

    @torch.no_grad()
    def forward(self, query: Tensor, reference: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One batch. Images and labels are moved to this transform's device.

        Args:
            query: ground images [B, 3, *, *], uint8, or float in [0, 1].
            reference: aerial images [B, 3, *, *], likewise.
            labels: int64 [B].

        Returns:
            query float32 [multiplier * B, 3, h, w], reference likewise, labels int64 [multiplier * B].
        """
        query, reference = self.query.to_view(query), self.reference.to_view(reference)
        labels = labels.to(query.device, non_blocking=True)
        if self.augment is not None:
            query, reference, labels = self.augment(query, reference, labels)
        query = self.query.view.crop(query, self.random_heading)
        return self.query.normalise_(query), self.reference.normalise_(reference), labels
