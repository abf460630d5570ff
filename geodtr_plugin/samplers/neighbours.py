"""Batches of anchors with their neighbours: hard negatives, whatever it is that makes places neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from ..utils.errors import NoCoordinatesError, UserError
from ..utils.geo import to_metres
from ..utils.ragged import Ragged
from . import register_sampler
from .by_name import overlapping_tiles, pair_places
from .disjoint import Conflicts
from .mined import BatchBuilder, EmbeddingNeighbours, MinedBatchSampler

if TYPE_CHECKING:
    from ..datasets import Split


class NeighbourBatchSampler(MinedBatchSampler):
    """Anchors with their neighbours, no place twice in a batch (Sample4Geo).

    A batch takes an unused pair at random, its anchor, then pairs of up to `neighbour_select` places around it: the
    nearest half of that number, and as many by chance from the rest of the `neighbour_range` nearest. Places that
    cannot meet the batch, or have no unused pair left, are passed over. Further anchors follow until the batch is full.
    Towards the end of an epoch, where neighbours have been used, batches are mostly anchors.

    Args:
        places: place label of every pair, int64 `[P]`.
        batch_size: pairs a batch, at most as many as there are places.
        neighbour_select: neighbours that an anchor brings; half a batch by default (Sample4Geo: 64 of 128).
        neighbour_range: nearest places to choose them from; as many as a batch by default (Sample4Geo: 128).
        seed: see EpochBatchSampler.
        tiles: see PlaceBatchSampler.

    Raises:
        ValueError: `neighbour_select` is not between 0 and `neighbour_range`.

    Source: Deuser et al., ICCV 2023, section 3.3.
    """

    def __init__(
        self,
        places: np.ndarray,
        batch_size: int,
        neighbour_select: int | None = None,
        neighbour_range: int | None = None,
        seed: int = 0,
        tiles: Ragged | None = None,
    ):
        self._select = batch_size // 2 if neighbour_select is None else neighbour_select
        self._range = max(batch_size, self._select) if neighbour_range is None else neighbour_range
        if not 0 <= self._select <= self._range or self._range < 1:
            raise ValueError(f"neighbour_select must be 0 to neighbour_range, not {self._select} of {self._range}")
        super().__init__(places, batch_size, seed, tiles)

    def fill(self, batch: BatchBuilder, generator: np.random.Generator) -> bool:
        """Fill one batch; return whether it became full."""
        half = self._select // 2
        while not batch.full:
            anchor = batch.add_next()
            if anchor is None:
                return False
            nearest = self.neighbours(anchor)
            by_chance = generator.permutation(nearest[half:])[: self._select - half]
            for place in (*nearest[:half].tolist(), *by_chance.tolist()):
                batch.add_place(place)
        return True


class GeoNeighbourBatchSampler(NeighbourBatchSampler):
    """Places that lie near each other on the ground, as hard negatives from the first epoch on (Sample4Geo).

    Distances are those of the haversine formula for latitude and longitude, plain ones for metres.

    Args:
        coordinates: float `[P, 2]`, one a pair: latitude and longitude in degrees, or metres east and north.
        kind: "latlon" or "metres".
        places: place label of every pair, int64 `[P]`. A place lies at the mean of its pairs.
        batch_size: see NeighbourBatchSampler, as for all that follow.

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
        tiles: Ragged | None = None,
    ):
        super().__init__(places, batch_size, neighbour_select, neighbour_range, seed, tiles)
        self.table = near_places(self.conflicts, coordinates, kind, self._range)


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


def near_places(conflicts: Conflicts, coordinates: np.ndarray, kind: str, count: int) -> np.ndarray:
    """Return the places nearest to that of each pair, nearest first, int32 `[P, count or all others]`.

    Coordinates are `[P, 2]`, of the kind "latlon" or "metres".

    Raises:
        ValueError: there is not one point a pair.
        UserError: coordinates are missing or impossible.
    """
    points = to_metres(coordinates, kind)
    if len(points) != len(conflicts):
        raise ValueError(f"{len(conflicts)} pairs came with {len(points)} coordinates")
    sums = np.add.reduceat(points[conflicts.pairs.values], conflicts.pairs.offsets[:-1], axis=0)
    means = sums / conflicts.pairs.counts()[:, None]
    return nearest_others(means, count).astype(np.int32)[conflicts.places]


def nearest_others(points: np.ndarray, count: int) -> np.ndarray:
    """Return, for every point `[Q, K]`, the `count` nearest others (or all), nearest first, int64 `[Q, count]`."""
    rows = np.arange(len(points))
    wanted = min(count + 1, len(points))  # a point is the nearest to itself
    _, nearest = cKDTree(points).query(points, range(1, wanted + 1))
    others = nearest != rows[:, None]
    others[others.all(axis=1), -1] = False  # so many points coincide that this one is not among the first
    return nearest[others].reshape(len(points), wanted - 1)


def neighbour_options(
    split: Split, batch_size: int, seed: int, neighbours: int | None, neighbour_range: int | None
) -> dict[str, Any]:
    """Return the arguments that samplers with neighbours share, checked.

    Raises:
        UserError: an anchor cannot bring so many neighbours.
    """
    chosen = batch_size // 2 if neighbours is None else neighbours
    if chosen < 0:
        raise UserError(f"--sampling.neighbours is {chosen}; make it 0 (none) or more.")
    if neighbour_range is not None and not 1 <= neighbour_range >= chosen:
        source = "half a batch" if neighbours is None else "--sampling.neighbours"
        raise UserError(
            f"An anchor cannot bring {chosen} neighbours ({source}) out of the {neighbour_range} nearest places "
            "(--sampling.neighbour_range).",
            f"Raise the latter to {max(1, chosen)} or more.",
        )
    return dict(
        places=pair_places(split), batch_size=batch_size, neighbour_select=neighbours,
        neighbour_range=neighbour_range, seed=seed, tiles=overlapping_tiles(split),
    )  # fmt: skip


def pair_coordinates(split: Split, sampler: str) -> tuple[np.ndarray, str]:
    """Return where each pair is, `[P, 2]`, and the kind of coordinates: those of the role that knows more of them.

    Raises:
        NoCoordinatesError: neither role has coordinates for every pair.
    """
    known = [
        (images.coordinates[rows], str(images.coordinate_kind))
        for images, rows in ((split.references, split.pairs[:, 1]), (split.queries, split.pairs[:, 0]))
        if images.coordinates is not None
    ]
    if not known:
        raise NoCoordinatesError(
            f"--sampler {sampler} goes by where places lie, but {split.name} has no coordinates here.",
            "Choose --sampler similar or --sampler hard, which go by what the network sees, or --sampler auto.",
        )
    located, kind = max(known, key=lambda part: np.isfinite(part[0]).all(axis=1).sum())
    missing = len(located) - np.isfinite(located).all(axis=1).sum()
    if missing:
        raise NoCoordinatesError(
            f"--sampler {sampler} goes by where places lie, but {missing:,} of the {len(located):,} training pairs of "
            f"{split.name} have no coordinates.",
            "Complete them, or choose --sampler similar.",
        )
    return located, kind


@register_sampler("geo")
def geo(
    split: Split, batch_size: int, seed: int, neighbours: int | None = None, neighbour_range: int | None = None
) -> GeoNeighbourBatchSampler:
    """Build batches of places that lie near each other on the ground.

    Args:
        split: the training split.
        batch_size: pairs a batch.
        seed: of the order.
        neighbours: places that an anchor brings into its batch; None: half a batch.
        neighbour_range: nearest places to choose them from; None: as many as a batch.

    Raises:
        UserError: the split has no coordinates, or an anchor cannot bring so many neighbours.
    """
    options = neighbour_options(split, batch_size, seed, neighbours, neighbour_range)
    return GeoNeighbourBatchSampler(*pair_coordinates(split, "geo"), **options)


@register_sampler("similar")
def similar(
    split: Split, batch_size: int, seed: int, neighbours: int | None = None, neighbour_range: int | None = None
) -> SimilarBatchSampler:
    """Build batches of places that look alike to the network, random ones until there are embeddings; see `geo`."""
    return SimilarBatchSampler(**neighbour_options(split, batch_size, seed, neighbours, neighbour_range))


@register_sampler("geo+similar")
def geo_then_similar(
    split: Split, batch_size: int, seed: int, neighbours: int | None = None, neighbour_range: int | None = None
) -> SimilarBatchSampler:
    """Build batches as `geo` until there are embeddings, then as `similar`."""
    options = neighbour_options(split, batch_size, seed, neighbours, neighbour_range)
    coordinates, kind = pair_coordinates(split, "geo+similar")
    return SimilarBatchSampler(**options, coordinates=coordinates, kind=kind)
