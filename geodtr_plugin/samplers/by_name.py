"""From the name in a recipe to a batch sampler, and the sampler that a data set needs by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import BatchSampler

from ..utils.ragged import Ragged
from ..utils.registry import built
from . import SAMPLERS, register_sampler
from .disjoint import DisjointTilesBatchSampler, PlaceBatchSampler

if TYPE_CHECKING:
    from ..datasets import Split


def build_sampler(
    name: str, split: Split, batch_size: int, seed: int = 0, args: Mapping[str, Any] | None = None
) -> BatchSampler | None:
    """Build a sampler by its name in `SAMPLERS`; all built-in ones but "shuffle" keep wrong negatives out of batches.

    Args:
        name: such as "auto" or "geo".
        split: the training split.
        batch_size: pairs a batch.
        seed: of the order.
        args: arguments of the sampler.

    Returns:
        The sampler; None for a plain shuffle.

    Raises:
        UnknownNameError: there is no such sampler.
        UserError: the data set or the arguments do not allow it.
    """
    args = {} if args is None else args
    return built("sampler", name, SAMPLERS[name], {"split": split, "batch_size": batch_size, "seed": seed, **args})


@register_sampler("shuffle")
def shuffle(split: Split, batch_size: int, seed: int) -> None:
    """Return None: a plain shuffle."""


@register_sampler("auto")
def default_sampler(split: Split, batch_size: int, seed: int = 0) -> BatchSampler | None:
    """Return a sampler that keeps wrong negatives and needless repetitions out of the batches of a training split.

    It is a DisjointTilesBatchSampler where tiles show places of other pairs too (semi-positives, as in VIGOR), else a
    PlaceBatchSampler where places come more than once, else None: a plain shuffle will do.
    """
    tiles = overlapping_tiles(split)
    if tiles is not None:
        return DisjointTilesBatchSampler(tiles, batch_size, seed)
    return None if shows_places_once(None, split) else PlaceBatchSampler(pair_places(split), batch_size, seed)


def shows_places_once(sampler: BatchSampler | None, split: Split) -> bool:
    """Tell whether every batch is known to show each place once."""
    if sampler is not None:
        return getattr(sampler, "places_differ", False)
    places = pair_places(split)
    return len(np.unique(places)) == len(places)


def pair_places(split: Split) -> np.ndarray:
    """Return the place label of every training pair, int64 `[P]`."""
    return split.query_places[split.pairs[:, 0]]


def overlapping_tiles(split: Split) -> Ragged | None:
    """Return `tiles_of_pairs` where tiles show places of other pairs too, else None."""
    ignored = split.truth.ignored
    return tiles_of_pairs(split) if ignored is not None and len(ignored.values) else None


def tiles_of_pairs(split: Split) -> Ragged:
    """Return the references that show each pair's place: its own, and all right and ignored ones of its query."""
    queries = split.pairs[:, 0]
    truth = split.truth.take(queries)
    parts = [part for part in (truth.positives, truth.ignored) if part is not None]
    rows = np.concatenate([np.arange(len(queries)), *(part.rows() for part in parts)])
    tiles = np.concatenate([split.pairs[:, 1], *(part.values for part in parts)])
    both = np.unique(np.stack([rows, tiles]), axis=1)
    return Ragged.from_counts(both[1], np.bincount(both[0], minlength=len(queries)))
