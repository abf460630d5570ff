"""Batches of which one half is what the network confuses with the other (global mining of VIGOR and TransGeo)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..utils.errors import UserError
from ..utils.ragged import Ragged
from . import register_sampler
from .by_name import overlapping_tiles, pair_places
from .mined import BatchBuilder, EmbeddingNeighbours

if TYPE_CHECKING:
    from ..datasets import Split


class HardBatchSampler(EmbeddingNeighbours):
    """Half of a batch at random; for each of those, a pair whose reference looks like its query to the network.

    That pair is drawn from the `top` places most similar to the query, among `pool` places that are drawn anew with
    every table, passing over what cannot meet the batch or was used in this epoch. Where none is left, or the query
    has not been seen yet, a random pair takes its place. `update` takes the embeddings as training left them (an
    `EmbeddingBank`) after every epoch; until the first time all pairs are drawn at random.

    The authors may draw a hard pair again in another batch of the epoch, and leave out as many; here every pair comes
    once, so that partners get scarce in the last batches of an epoch.

    Args:
        places: see PlaceBatchSampler, as for `batch_size`, `seed` and `tiles`.
        top: places from which a partner is drawn.
        pool: places among which these are searched; the authors' number by default.

    Raises:
        ValueError: `top` or `pool` is below 1.

    Source: Zhu et al., CVPR 2022 (TransGeo), and VIGOR's global mining before it.
    """

    follows = "training"

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
        self.table_length = min(top, len(self.conflicts.pairs))

    def fill(self, batch: BatchBuilder, generator: np.random.Generator) -> bool:
        """Fill one batch; return whether it became full."""
        anchors = [batch.add_next() for _ in range(self.batch_size - self.batch_size // 2)]
        for anchor in anchors:
            if anchor is not None and not batch.full:
                any(map(batch.add_place, generator.permutation(self.neighbours(anchor)).tolist()))
        while not batch.full and batch.add_next() is not None:
            pass
        return batch.full


@register_sampler("hard")
def hard(split: Split, batch_size: int, seed: int, pool: int = 40_000, top: int = 100) -> HardBatchSampler:
    """Build batches of which one half is what the network confuses with the other half.

    Args:
        split: the training split.
        batch_size: pairs a batch.
        seed: of the order.
        pool: places among which confusing ones are looked for.
        top: most similar places from which one is drawn.

    Raises:
        UserError: `pool` or `top` is below 1.
    """
    for option, number in (("pool", pool), ("top", top)):
        if number < 1:
            raise UserError(f"--sampling.{option} is {number}; it counts places to choose from, so make it 1 or more.")
    return HardBatchSampler(pair_places(split), batch_size, top, pool, seed, overlapping_tiles(split))
