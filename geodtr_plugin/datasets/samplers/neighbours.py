"""Batches of places that lie near each other, as hard negatives from the first epoch on."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ...utils.errors import UserError
from ...utils.geo import to_metres
from ...utils.ragged import Ragged, as_int64, group
from .base import EpochBatchSampler
from .disjoint import too_few_places


class GeoNeighbourBatchSampler(EpochBatchSampler):
    """Hubs with their neighbours on the ground, no place twice in a batch (Sample4Geo).

    A batch takes an unused pair at random, its hub, then pairs of up to `neighbour_select` places around it: the
    nearest half of that number, and as many by chance from the rest of the `neighbour_range` nearest. Places that are
    in the batch already, or have no unused pair left, are passed over. It goes on with further hubs until it is
    full. Towards the end of an epoch, where neighbours have been used, batches are mostly hubs.

    Distances are those of the haversine formula for latitude and longitude, plain ones for metres.

    Args:
        coordinates: float `[P, 2]`, one a pair: latitude and longitude in degrees, or metres east and north.
        kind: "latlon" or "metres".
        places: place label of every pair, int64 `[P]`. A place lies at the mean of its pairs.
        batch_size: pairs a batch, at most as many as there are places.
        neighbour_select: neighbours that a hub brings; half a batch by default (Sample4Geo: 64 of 128).
        neighbour_range: nearest places to choose them from; as many as a batch by default (Sample4Geo: 128).
        seed: see EpochBatchSampler.

    Raises:
        UserError: there are too few places, or coordinates are missing or impossible.
    """

    def __init__(
        self,
        coordinates: np.ndarray,
        kind: str,
        places: np.ndarray,
        batch_size: int,
        neighbour_select: int | None = None,
        neighbour_range: int | None = None,
        seed: int = 0,
    ):
        names, self._places = np.unique(as_int64(places), return_inverse=True)
        points = to_metres(coordinates, kind)
        if len(points) != len(self._places):
            raise ValueError(f"{len(self._places)} pairs came with {len(points)} coordinates")
        if len(names) < max(2, batch_size):
            raise UserError(too_few_places(self._places, max(2, batch_size)))
        self._select = batch_size // 2 if neighbour_select is None else neighbour_select
        span = max(batch_size, self._select) if neighbour_range is None else neighbour_range
        if not 0 <= self._select <= span or span < 1:
            raise ValueError(f"neighbour_select must be 0 to neighbour_range, not {self._select} of {span}")
        self._pairs = group(self._places, np.arange(len(names)))
        self._nearest = nearest_others(_mean_points(points, self._pairs), span)
        super().__init__(len(self._places), batch_size, seed)

    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """See EpochBatchSampler."""
        hubs = self._places[generator.permutation(len(self._places))].tolist()  # taken from the end
        unused = [generator.permutation(pairs).tolist() if len(pairs) > 1 else pairs.tolist() for pairs in self._pairs]
        batches = []
        while hubs:
            batch, put_back = {}, []
            while hubs and len(batch) < self.batch_size:
                hub = hubs.pop()
                if hub in batch:
                    put_back.append(hub)
                elif unused[hub]:
                    self._add(batch, hub, unused, generator)
            if len(batch) == self.batch_size:
                batches.append(list(batch.values()))
                hubs += reversed(put_back)
        return batches

    def _add(self, batch: dict[int, int], hub: int, unused: list[list[int]], generator: np.random.Generator) -> None:
        """Puts pairs of the hub and of its neighbours into the batch (place -> pair)."""
        nearest, half = self._nearest[hub], self._select // 2
        by_chance = generator.permutation(nearest[half:])[: self._select - half]
        for place in (hub, *nearest[:half].tolist(), *by_chance.tolist()):
            if len(batch) == self.batch_size:
                return
            if unused[place] and place not in batch:
                batch[place] = unused[place].pop()

    def too_few(self) -> str:
        """See EpochBatchSampler."""
        return too_few_places(self._places, self.batch_size)


def nearest_others(points: np.ndarray, count: int) -> np.ndarray:
    """For every point `[Q, K]`, the `count` nearest others (or all, where there are fewer), nearest first, int64."""
    rows = np.arange(len(points))
    wanted = min(count + 1, len(points))  # a point is the nearest to itself
    _, found = cKDTree(points).query(points, range(1, wanted + 1))
    others = found != rows[:, None]
    others[others.all(axis=1), -1] = False  # so many points coincide that this one is not among the first
    return found[others].reshape(len(points), wanted - 1)


def _mean_points(points: np.ndarray, pairs: Ragged) -> np.ndarray:
    """The mean of every place's points."""
    sums = np.add.reduceat(points[pairs.values], pairs.offsets[:-1], axis=0)
    return sums / pairs.counts()[:, None]
