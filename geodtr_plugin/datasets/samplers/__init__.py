"""Batch samplers for training: what must not meet in a batch, and what should.

They go wherever PML takes a `sampler`. Rows are those of `Index.pairs`, which are the items of `PairDataset`.
"""

from __future__ import annotations

from .base import EpochBatchSampler
from .choice import SAMPLERS, choose_sampler, default_sampler
from .disjoint import DisjointTilesBatchSampler, PlaceBatchSampler
from .hard import HardBatchSampler
from .neighbours import GeoNeighbourBatchSampler, NeighbourBatchSampler
from .similar import SimilarBatchSampler

__all__ = [
    "SAMPLERS",
    "DisjointTilesBatchSampler",
    "EpochBatchSampler",
    "GeoNeighbourBatchSampler",
    "HardBatchSampler",
    "NeighbourBatchSampler",
    "PlaceBatchSampler",
    "SimilarBatchSampler",
    "choose_sampler",
    "default_sampler",
]
