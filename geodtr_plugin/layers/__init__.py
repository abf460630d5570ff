"""Building blocks that at least two methods share."""

from .layout_extractor import MASK_RANGE, MASKS, LayoutExtractorV2, MaskBottleneck
from .trunks import build_trunk, feature_size

__all__ = ["MASKS", "MASK_RANGE", "LayoutExtractorV2", "MaskBottleneck", "build_trunk", "feature_size"]
