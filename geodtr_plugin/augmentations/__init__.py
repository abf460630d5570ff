"""Batched augmentations on the device: polar transform, layout simulation, semantic augmentation."""

from collections.abc import Callable
from functools import partial

from .cutout import CutoutAugmentation
from .image_transform import COLOURS, ImageTransform
from .layout import LayoutSimulation, compose_layouts, inverse_layout, turn_offsets, turn_panoramas, turn_tiles
from .misalignment import Misalignment, crop_tiles
from .pipeline import IMAGENET_MEAN, IMAGENET_STD, BatchTransform, RoleTransform
from .polar import PolarTransform
from .samples import Samples
from .semantic import SemanticAugmentation

# by the names that recipes give them
SEMANTIC: dict[str, Callable[..., SemanticAugmentation]] = {
    **{strength: partial(SemanticAugmentation, strength) for strength in ("strong", "weak", "none")},
    "cutout": CutoutAugmentation,
}

__all__ = [
    "COLOURS", "IMAGENET_MEAN", "IMAGENET_STD", "SEMANTIC", "BatchTransform", "CutoutAugmentation", "ImageTransform",
    "LayoutSimulation", "Misalignment", "PolarTransform", "RoleTransform", "Samples", "SemanticAugmentation",
    "compose_layouts", "crop_tiles", "inverse_layout", "turn_offsets", "turn_panoramas", "turn_tiles",
]  # fmt: skip
