"""The batch sampler that a data set needs, or that a recipe names."""

from __future__ import annotations

import numpy as np
from torch.utils.data import BatchSampler

from ..datasets.base import Index
from ..utils.errors import UnknownNameError, UserError
from ..utils.ragged import Ragged
from .disjoint import DisjointTilesBatchSampler, PlaceBatchSampler
from .hard import HardBatchSampler
from .neighbours import GeoNeighbourBatchSampler
from .similar import SimilarBatchSampler

SAMPLERS = ("auto", "shuffle", "geo", "hard", "similar", "geo+similar")


def default_sampler(index: Index, batch_size: int, seed: int = 0) -> BatchSampler | None:
    """A sampler that keeps wrong negatives and needless repetitions out of the batches of a training split.

    Returns:
        DisjointTilesBatchSampler where tiles show places of other pairs too (semi-positives, as in VIGOR), else
        PlaceBatchSampler where places come more than once, else None: a plain shuffle will do.
    """
    tiles = overlapping_tiles(index)
    if tiles is not None:
        return DisjointTilesBatchSampler(tiles, batch_size, seed)
    places = index.query_places[index.pairs[:, 0]]
    return PlaceBatchSampler(places, batch_size, seed) if len(np.unique(places)) < len(places) else None


def choose_sampler(
    index: Index,
    name: str,
    batch_size: int,
    seed: int = 0,
    *,
    pool: int = 40_000,
    top: int = 100,
    neighbours: int | None = None,
    neighbour_range: int | None = None,
) -> BatchSampler | None:
    """A sampler by its name; all but "shuffle" keep wrong negatives out of the batches.

    Args:
        index: the training split.
        name: "auto": `default_sampler`; "shuffle": plain; "geo": places that lie near each other; "hard": half of a
            batch is what the network confuses with the other half; "similar": places that look alike to the network;
            "geo+similar": "geo" until the first measurement, then "similar".
        batch_size: pairs a batch.
        seed: of the order.
        pool: places among which "hard" looks for confusing ones.
        top: most similar places from which "hard" draws one.
        neighbours: places that a hub brings into its batch, for "geo" and "similar"; None: half a batch.
        neighbour_range: nearest places to choose them from; None: as many as a batch.

    Returns:
        The sampler; None for a plain shuffle. Those of "hard" and the two of "similar" have an `update`.

    Raises:
        UserError: the data set or the numbers do not allow it.
    """
    if name not in SAMPLERS:
        raise UnknownNameError("sampler", name, SAMPLERS)
    if name == "shuffle":
        return None
    if name == "auto":
        return default_sampler(index, batch_size, seed)
    places, tiles = index.query_places[index.pairs[:, 0]], overlapping_tiles(index)
    if name == "hard":
        _check_at_least_one(pool, "--sampling.pool")
        _check_at_least_one(top, "--sampling.top")
        return HardBatchSampler(places, batch_size, top, pool, seed, tiles)
    _check_neighbours(batch_size, neighbours, neighbour_range)
    rest = (places, batch_size, neighbours, neighbour_range, seed, tiles)
    if name == "similar":
        return SimilarBatchSampler(*rest)
    located, kind = _coordinates(index, name)
    if name == "geo":
        return GeoNeighbourBatchSampler(located, kind, *rest)
    return SimilarBatchSampler(*rest, located, kind)


def overlapping_tiles(index: Index) -> Ragged | None:
    """`tiles_of_pairs` where tiles show places of other pairs too, else None."""
    neutrals = index.truth.neutrals
    return tiles_of_pairs(index) if neutrals is not None and len(neutrals.values) else None


def tiles_of_pairs(index: Index) -> Ragged:
    """Per pair, the references that show its place: the pair's own, and all right and neutral ones of its query."""
    queries = index.pairs[:, 0]
    truth = index.truth.take(queries)
    parts = [part for part in (truth.positives, truth.neutrals) if part is not None]
    rows = np.concatenate([np.arange(len(queries)), *(part.rows() for part in parts)])
    tiles = np.concatenate([index.pairs[:, 1], *(part.values for part in parts)])
    both = np.unique(np.stack([rows, tiles]), axis=1)
    return Ragged.from_counts(both[1], np.bincount(both[0], minlength=len(queries)))


def _coordinates(index: Index, name: str) -> tuple[np.ndarray, str]:
    """Where each pair is, `[P, 2]`, and the kind of coordinates: those of the role that knows more of them."""
    known = [
        (images.coordinates[rows], images.coordinate_kind)
        for images, rows in ((index.references, index.pairs[:, 1]), (index.queries, index.pairs[:, 0]))
        if images.coordinates is not None
    ]
    if not known:
        raise UserError(
            f"--sampler {name} goes by where places lie, but {index.name} has no coordinates here. Choose "
            "--sampler similar or --sampler hard, which go by what the network sees, or --sampler auto."
        )
    located, kind = max(known, key=lambda part: np.isfinite(part[0]).all(axis=1).sum())
    missing = len(located) - np.isfinite(located).all(axis=1).sum()
    if missing:
        raise UserError(
            f"--sampler {name} goes by where places lie, but {missing:,} of the {len(located):,} training pairs of "
            f"{index.name} have no coordinates. Complete them, or choose --sampler similar."
        )
    return located, kind


def _check_neighbours(batch_size: int, select: int | None, span: int | None) -> None:
    chosen = batch_size // 2 if select is None else select
    if chosen < 0:
        raise UserError(f"--sampling.neighbours is {chosen}; make it 0 (none) or more.")
    if span is not None and not 1 <= span >= chosen:
        source = "half a batch" if select is None else "--sampling.neighbours"
        raise UserError(
            f"A hub cannot bring {chosen} neighbours ({source}) out of the {span} nearest places "
            f"(--sampling.neighbour_range). Raise the latter to {max(1, chosen)} or more."
        )


def _check_at_least_one(number: int, option: str) -> None:
    if number < 1:
        raise UserError(f"{option} is {number}; it counts places to choose from, so make it 1 or more.")
