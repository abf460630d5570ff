"""Batches of places that look alike to the network (Sample4Geo's dynamic similarity sampling)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..utils.ragged import Ragged
from . import register_sampler
from .mined import EmbeddingNeighbours
from .neighbours import NeighbourBatchSampler, near_places, neighbour_options, pair_coordinates

if TYPE_CHECKING:
    from ..datasets import Split


class SimilarBatchSampler(EmbeddingNeighbours, NeighbourBatchSampler):
    """Anchors with the places whose references look most like their query to the network.

    `update` takes the embeddings of all training pairs every few epochs (Sample4Geo: every 4). Until then batches hold
    places that lie near each other, where there are coordinates, or random ones.

    Args:
        places: see NeighbourBatchSampler, as for all that follow up to `tiles`.
        coordinates: float `[P, 2]`, one a pair, for the epochs before the first `update`; None: these are random.
        kind: of the coordinates, "latlon" or "metres".

    Source: Deuser et al., ICCV 2023, section 3.3.
    """

    follows = "measurement"

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
        self.table_length = min(self._range, len(self.conflicts.pairs))
        if coordinates is not None:
            self.table = self.first_table = near_places(self.conflicts, coordinates, kind, self._range)


@register_sampler("similar")
def similar(
    split: Split, batch_size: int, seed: int, neighbours: int | None = None, neighbour_range: int | None = None
) -> SimilarBatchSampler:
    """Build batches of places that look alike to the network; random ones until there are embeddings.

    Args:
        split: the training split.
        batch_size: pairs a batch.
        seed: of the order.
        neighbours: places that an anchor brings into its batch; None: half a batch.
        neighbour_range: most similar places to choose them from; None: as many as a batch.
    """
    return SimilarBatchSampler(**neighbour_options(split, batch_size, seed, neighbours, neighbour_range))


@register_sampler("geo+similar")
def geo_then_similar(
    split: Split, batch_size: int, seed: int, neighbours: int | None = None, neighbour_range: int | None = None
) -> SimilarBatchSampler:
    """Build batches as "geo" until there are embeddings, then as "similar"."""
    options = neighbour_options(split, batch_size, seed, neighbours, neighbour_range)
    coordinates, kind = pair_coordinates(split, "geo+similar")
    return SimilarBatchSampler(**options, coordinates=coordinates, kind=kind)
