"""Batches in which no two pairs share their place, or a tile that shows it."""

from __future__ import annotations

import numpy as np

from ..utils.ragged import Ragged, as_int64
from .base import EpochBatchSampler


class PlaceBatchSampler(EpochBatchSampler):
    """No place twice in a batch: for data sets with several images of a place.

    The pairs of a place are spread over the epoch at random but evenly, so that next to none are left over.

    Args:
        places: place label of every pair, int64 `[P]`, as in `PairDataset.places`.
        batch_size: pairs a batch, at most as many as there are places.
        seed: see EpochBatchSampler.
    """

    def __init__(self, places: np.ndarray, batch_size: int, seed: int = 0):
        _, self._places = np.unique(as_int64(places), return_inverse=True)
        self._keys: list[tuple[int, ...]] = [(place,) for place in self._places.tolist()]
        super().__init__(len(self._places), batch_size, seed)

    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """Return the whole batches of one epoch."""
        return first_fit(spread_evenly(self._places, generator), self._keys, self.batch_size)

    def too_few(self) -> str:
        """Return the message for an epoch without a batch."""
        return too_few_places(self._places, self.batch_size)


class DisjointTilesBatchSampler(EpochBatchSampler):
    """No two pairs of a batch share a tile: for tiles that overlap (VIGOR), where a negative may show the place too.

    Args:
        tiles: the tiles that show the place of each pair, `[P]` rows.
        batch_size: pairs a batch.
        seed: see EpochBatchSampler.
    """

    def __init__(self, tiles: Ragged, batch_size: int, seed: int = 0):
        _, keys = np.unique(tiles.values, return_inverse=True)
        self._keys = [tuple(row.tolist()) for row in np.split(keys, tiles.offsets[1:-1])] if len(tiles) else []
        super().__init__(len(tiles), batch_size, seed)

    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """Return the whole batches of one epoch."""
        return first_fit(generator.permutation(len(self._keys)), self._keys, self.batch_size)

    def too_few(self) -> str:
        """Return the message for an epoch without a batch."""
        return too_few_tiles(len(self._keys), self.batch_size)


def too_few_places(places: np.ndarray, batch_size: int) -> str:
    """Return the message for places, int64 `[P]`, that do not fill a batch."""
    number = len(np.unique(places))
    return (
        f"The {len(places):,} training pairs show {number:,} places, too few for a batch of {batch_size} in which no "
        f"place comes twice. Choose a batch size of at most {number:,}, or more pairs."
    )


def too_few_tiles(num_pairs: int, batch_size: int) -> str:
    """Return the message for pairs of which too few have no tile in common."""
    return (
        f"Among the {num_pairs:,} training pairs, no {batch_size} were found of which no two share an aerial tile. "
        "Choose a smaller batch size, or more pairs."
    )


def spread_evenly(groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a random order, int64 `[P]`, in which the rows of a group lie evenly apart.

    The epoch is cut into as many equal spans as a group has rows; each of the rows comes at a random moment of a span.

    Args:
        groups: group of every row, `[P]`, numbered from 0 without gaps.
        generator: of the order.
    """
    shuffled = generator.permutation(len(groups))
    by_group = shuffled[np.argsort(groups[shuffled], kind="stable")]
    counts = np.bincount(groups)
    spans = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    moments = (spans + generator.random(len(groups))) / np.repeat(counts, counts)
    return by_group[np.argsort(moments)]


def first_fit(order: np.ndarray, keys: list[tuple[int, ...]], batch_size: int) -> list[list[int]]:
    """Put each row, in order, into the first batch that has room and holds none of its keys.

    Args:
        order: rows.
        keys: of every row; rows with a common key never meet.
        batch_size: rows that a batch has room for.

    Returns:
        The batches that were filled.
    """
    batches: list[list[int]] = []
    held: list[set[int]] = []  # the keys in each batch
    onward: list[int] = []  # itself for a batch with room, else a later one
    after: dict[tuple[int, ...], int] = {}  # where to go on: earlier batches would not take the same keys again
    for row in order.tolist():
        own = keys[row]
        at = _with_room(onward, after.get(own, 0))
        while at < len(batches) and not held[at].isdisjoint(own):
            at = _with_room(onward, at + 1)
        if at == len(batches):
            batches.append([])
            held.append(set())
            onward.append(at)
        batches[at].append(row)
        held[at].update(own)
        if len(batches[at]) == batch_size:
            onward[at] = at + 1
        if own:
            after[own] = at + 1
    return [batch for batch in batches if len(batch) == batch_size]


def _with_room(onward: list[int], at: int) -> int:
    """Return the first batch from `at` on that has room, or a new one; shorten the chain that leads there."""
    passed = []
    while at < len(onward) and onward[at] != at:
        passed.append(at)
        at = onward[at]
    for batch in passed:
        onward[batch] = at
    return at
