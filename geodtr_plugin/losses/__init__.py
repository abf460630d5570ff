"""Losses on batches of (query, reference) embeddings, all of them PML losses."""

from __future__ import annotations

from .counterfactual import CounterfactualLoss
from .full_precision import FullPrecisionLoss
from .soft_margin_triplet import SoftMarginTripletLoss

__all__ = ["CounterfactualLoss", "FullPrecisionLoss", "SoftMarginTripletLoss"]
