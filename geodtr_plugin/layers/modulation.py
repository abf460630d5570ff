"""Modulation: features summed under masks, and the tower of one view that is made of trunk, masks and this sum."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .layout_extractor import MASK_RANGE, LayoutExtractorV2
from .layout_extractor_v1 import LayoutExtractorV1
from .trunks import feature_size

EXTRACTORS: dict[str, type[nn.Module]] = {"v1": LayoutExtractorV1, "v2": LayoutExtractorV2}


class LayoutTower(nn.Module):
    """Trunk, layout extractor and modulation of one view, in GeoDTR and GeoDTR+.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, C, h, w]`.
        image_size: (height, width) of the images.
        extractor: version of the layout extractor, "v1" or "v2".
        descriptors: number of masks K; an embedding has C * K numbers, channel-major.
        **layout: further arguments of the extractor.

    Raises:
        ValueError: there is no such extractor.

    Source: Zhang et al., TPAMI 2024, section 3.2; AAAI 2023 likewise.
    """

    def __init__(self, trunk: nn.Module, image_size: tuple[int, int], extractor: str, descriptors: int, **layout: Any):
        super().__init__()
        if extractor not in EXTRACTORS:
            raise ValueError(f"extractor is {extractor!r}; it must be one of {', '.join(EXTRACTORS)}.")
        self.trunk = trunk
        channels, height, width = feature_size(trunk, image_size)
        self.layout = EXTRACTORS[extractor](channels, height * width, descriptors, **layout)
        self.embedding_size = channels * descriptors

    def forward(self, images: Tensor, counterfactual: bool = False):
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm, or to that and its counterfactual, under random masks."""
        features = self.trunk(images)
        masks = self.layout(features)
        embedding = modulate(features, masks)
        if not counterfactual:
            return embedding
        return embedding, modulate(features, torch.empty_like(masks).uniform_(*MASK_RANGE[self.layout.mask]))

    def masks(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to the masks of the descriptors on the trunk's grid, `[B, K, h, w]`."""
        features = self.trunk(images)
        return self.layout(features).transpose(1, 2).unflatten(2, features.shape[2:])


def modulate(features: Tensor, masks: Tensor) -> Tensor:
    """Sum features `[B, C, h, w]` under each mask `[B, h * w, K]`; return `[B, C * K]` of unit norm, in fp32."""
    return nn.functional.normalize(masked_sums(features, masks), dim=1)


def masked_sums(features: Tensor, masks: Tensor) -> Tensor:
    """Sum features `[B, C, h, w]` under each mask `[B, h * w, K]`; return `[B, C * K]`, channel-major, in fp32."""
    with torch.autocast(features.device.type, enabled=False):
        return (features.float().flatten(2) @ masks.float()).flatten(1)


def square_for(query_size: tuple[int, int], share: float = 0.8, multiple: int = 8) -> tuple[int, int]:
    """Return the aerial size that goes with a panorama size: a square of about `share` times its pixels.

    The side is a multiple of `multiple`: by default, 122 x 671 has 256 x 256.
    """
    side = multiple * max(1, round(math.sqrt(share * query_size[0] * query_size[1]) / multiple))
    return side, side
