"""Losses on batches of (query, reference) embeddings, all of them PML losses, and what they leave out."""

from __future__ import annotations

from .counterfactual import CounterfactualLoss
from .exclusion import NearbyPlaces
from .full_precision import FullPrecisionLoss
from .info_nce import InfoNCELoss
from .sare import SARELoss
from .soft_margin_triplet import SoftMarginTripletLoss
from .tuple_hinge import TupleHingeLoss, TupleLoss

__all__ = [
    "CounterfactualLoss", "FullPrecisionLoss", "InfoNCELoss", "NearbyPlaces", "SARELoss", "SoftMarginTripletLoss",
    "TupleHingeLoss", "TupleLoss",
]  # fmt: skip
