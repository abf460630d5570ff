"""Batch samplers for training: what must not meet in a batch, and what should.

They go wherever PML takes a `sampler`. Rows are those of `Index.pairs`, which are the items of `PairDataset`.
"""

from __future__ import annotations

from .base import EpochBatchSampler
from .choice import default_sampler
from .disjoint import DisjointTilesBatchSampler, PlaceBatchSampler
from .neighbours import GeoNeighbourBatchSampler

__all__ = [
    "DisjointTilesBatchSampler",
    "EpochBatchSampler",
    "GeoNeighbourBatchSampler",
    "PlaceBatchSampler",
    "default_sampler",
]
