"""Building blocks that at least two methods share."""

from .attention_crop import AttentionGuide, CroppedTower, DistilledTower
from .circular import CircularConv2d, wrap_columns
from .gem import GeM
from .layout_extractor import MASK_RANGE, MASKS, LayoutExtractorV2, MaskBottleneck
from .layout_extractor_v1 import LayoutExtractorV1
from .modulation import LayoutTower, modulate, square_for
from .netvlad import NetVLAD, sample_locations
from .pca_whitening import PCAWhitening
from .spatial_embedding import SpatialEmbedding, SpatialTower
from .trunks import build_trunk, feature_size
from .vgg16 import VGG16
from .vit import build_distilled_vit, resize_positions

__all__ = [
    "MASKS", "MASK_RANGE", "VGG16", "AttentionGuide", "CircularConv2d", "CroppedTower", "DistilledTower", "GeM",
    "LayoutExtractorV1", "LayoutExtractorV2", "LayoutTower", "MaskBottleneck", "NetVLAD", "PCAWhitening",
    "SpatialEmbedding", "SpatialTower", "build_distilled_vit", "build_trunk", "feature_size", "modulate",
    "resize_positions", "sample_locations", "square_for", "wrap_columns",
]  # fmt: skip
