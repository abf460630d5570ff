"""Batched augmentations on the device: polar transform, layout simulation, semantic augmentation."""

from .cutout import CutoutAugmentation
from .layout import LayoutSimulation, compose_layouts, inverse_layout, turn_panoramas, turn_tiles
from .pipeline import IMAGENET_MEAN, IMAGENET_STD, BatchTransform, PairAugmentation, RoleTransform
from .polar import PolarTransform
from .semantic import SemanticAugmentation
from .view import ViewTransform

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "BatchTransform",
    "CutoutAugmentation",
    "LayoutSimulation",
    "PairAugmentation",
    "PolarTransform",
    "RoleTransform",
    "SemanticAugmentation",
    "ViewTransform",
    "compose_layouts",
    "inverse_layout",
    "turn_panoramas",
    "turn_tiles",
]
