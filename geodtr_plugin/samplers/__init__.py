"""Batch samplers for training: which pairs must not meet in a batch, and which should.

They go wherever PML takes a `sampler`. Rows are those of `Index.pairs`, which are the items of `PairDataset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..utils.lazy import lazy_imports

if TYPE_CHECKING:
    from .base import EpochBatchSampler
    from .by_name import SAMPLERS, choose_sampler, default_sampler
    from .disjoint import DisjointTilesBatchSampler, PlaceBatchSampler
    from .embedding_bank import EmbeddingBank
    from .hard import HardBatchSampler
    from .neighbours import GeoNeighbourBatchSampler, NeighbourBatchSampler
    from .similar import SimilarBatchSampler

__getattr__, __dir__, __all__ = lazy_imports(__name__)
