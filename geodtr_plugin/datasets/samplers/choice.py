"""The batch sampler that a data set needs."""

from __future__ import annotations

import numpy as np
from torch.utils.data import BatchSampler

from ...utils.ragged import Ragged
from ..base import Index
from .disjoint import DisjointTilesBatchSampler, PlaceBatchSampler


def default_sampler(index: Index, batch_size: int, seed: int = 0) -> BatchSampler | None:
    """A sampler that keeps wrong negatives and needless repetitions out of the batches of a training split.

    Returns:
        DisjointTilesBatchSampler where tiles show places of other pairs too (semi-positives, as in VIGOR), else
        PlaceBatchSampler where places come more than once, else None: a plain shuffle will do.
    """
    neutrals = index.truth.neutrals
    if neutrals is not None and len(neutrals.values):
        return DisjointTilesBatchSampler(tiles_of_pairs(index), batch_size, seed)
    places = index.query_places[index.pairs[:, 0]]
    return PlaceBatchSampler(places, batch_size, seed) if len(np.unique(places)) < len(places) else None


def tiles_of_pairs(index: Index) -> Ragged:
    """Per pair, the references that show its place: the pair's own, and all right and neutral ones of its query."""
    queries = index.pairs[:, 0]
    truth = index.truth.take(queries)
    parts = [part for part in (truth.positives, truth.neutrals) if part is not None]
    rows = np.concatenate([np.arange(len(queries)), *(part.rows() for part in parts)])
    tiles = np.concatenate([index.pairs[:, 1], *(part.values for part in parts)])
    both = np.unique(np.stack([rows, tiles]), axis=1)
    return Ragged.from_counts(both[1], np.bincount(both[0], minlength=len(queries)))
