"""Losses on batches of (query, reference) embeddings, all of them PML losses, and what they leave out."""

from __future__ import annotations

from .counterfactual import CounterfactualLoss
from .exclusion import NearbyPlaces
from .full_precision import FullPrecisionLoss
from .soft_margin_triplet import SoftMarginTripletLoss

__all__ = ["CounterfactualLoss", "FullPrecisionLoss", "NearbyPlaces", "SoftMarginTripletLoss"]
