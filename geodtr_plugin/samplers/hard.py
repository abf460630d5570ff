"""Batches of which one half is what the network confuses with the other (global mining of VIGOR and TransGeo)."""

from __future__ import annotations

import numpy as np

from ..utils.ragged import Ragged
from .filling import Tray
from .mined import FollowsEmbeddings, MinedBatchSampler


class HardBatchSampler(FollowsEmbeddings, MinedBatchSampler):
    """Half of a batch at random; for each of those, a pair whose reference looks like its query to the network.

    That pair is drawn from the `top` places most similar to the query, among `pool` places that are drawn anew with
    every table, passing over what cannot meet the batch or was used in this epoch. Where none is left, or the query
    has not been seen yet, a random pair takes the seat. Tell it the embeddings as training left them (a
    `miners.EmbeddingBank`) after every epoch with `update`; until the first time all pairs are drawn at random.

    The authors may draw a hard pair again in another batch of the epoch, and leave out as many; here every pair comes
    once, so that partners get scarce in the last batches of an epoch.

    Args:
        places: see MinedBatchSampler, as for `batch_size`, `seed` and `tiles`.
        top: places from which a partner is drawn.
        pool: places among which these are searched; the authors' number by default.
    """

    def __init__(
        self,
        places: np.ndarray,
        batch_size: int,
        top: int = 100,
        pool: int = 40_000,
        seed: int = 0,
        tiles: Ragged | None = None,
    ):
        if top < 1 or pool < 1:
            raise ValueError(f"top and pool must be 1 or more, not {top} and {pool}")
        super().__init__(places, batch_size, seed, tiles)
        self.pool = pool
        self.table_length = min(top, len(self.apart.pairs))

    def fill(self, tray: Tray, generator: np.random.Generator) -> bool:
        """See MinedBatchSampler."""
        hubs = [tray.add_next() for _ in range(self.batch_size - self.batch_size // 2)]
        for hub in hubs:
            if hub is not None and not tray.full:
                any(map(tray.add_place, generator.permutation(self.neighbours(hub)).tolist()))
        while not tray.full and tray.add_next() is not None:
            pass
        return tray.full
