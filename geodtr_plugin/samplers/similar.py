"""Batches of places that look alike to the network (Sample4Geo's dynamic similarity sampling)."""

from __future__ import annotations

import numpy as np

from ..utils.ragged import Ragged
from .mined import FollowsEmbeddings
from .neighbours import NeighbourBatchSampler, near_places


class SimilarBatchSampler(FollowsEmbeddings, NeighbourBatchSampler):
    """Hubs with the places whose references look most like the hub's query to the network (Sample4Geo, Section 3.3).

    Tell it the embeddings of all training pairs every few epochs (Sample4Geo: every 4) with `update`. Until then
    batches hold places that lie near each other, where coordinates are given, or random ones.

    Args:
        places: see NeighbourBatchSampler, as for all that follow up to `tiles`.
        coordinates: float `[P, 2]`, one a pair, for the epochs before the first `update`; None: these are random.
        kind: of the coordinates, "latlon" or "metres".
    """

    def __init__(
        self,
        places: np.ndarray,
        batch_size: int,
        neighbour_select: int | None = None,
        neighbour_range: int | None = None,
        seed: int = 0,
        tiles: Ragged | None = None,
        coordinates: np.ndarray | None = None,
        kind: str = "latlon",
    ):
        super().__init__(places, batch_size, neighbour_select, neighbour_range, seed, tiles)
        self.table_length = min(self._range, len(self.apart.pairs))
        if coordinates is not None:
            self.table = self.first_table = near_places(self.apart, coordinates, kind, self._range)
