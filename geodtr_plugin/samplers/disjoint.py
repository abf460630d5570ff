"""Batches in which no two pairs share their place, or a tile that shows it."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from ..utils.ragged import Ragged, as_int64, group
from .base import EpochBatchSampler


class Conflicts:
    """What must not meet in a batch: two pairs of a place, or two that share a tile.

    Args:
        places: place label of every pair, int64 `[P]`.
        tiles: the tiles that show the place of each pair, `[P]` rows, where tiles overlap.

    Attributes:
        places: the labels, numbered from 0.
        pairs: of every place.
        tiles: of every pair, or None.
        keys: of every pair, its place first; pairs with a common key must not meet.

    Raises:
        ValueError: there are tiles for another number of pairs.
    """

    def __init__(self, places: np.ndarray, tiles: Ragged | None = None):
        names, self.places = np.unique(as_int64(places), return_inverse=True)
        self.pairs = group(self.places, np.arange(len(names)))
        if tiles is not None and len(tiles) != len(self.places):
            raise ValueError(f"{len(self.places)} pairs came with the tiles of {len(tiles)}")
        self.tiles = tiles
        self.keys: list[tuple[int, ...]] = [(place,) for place in self.places.tolist()]
        if tiles is not None:
            self.keys = [(*place, *row) for place, row in zip(self.keys, _numbered(tiles, first=len(names)))]

    def __len__(self) -> int:
        return len(self.places)

    def shuffled(self, generator: np.random.Generator, rows: np.ndarray | None = None) -> np.ndarray:
        """Return rows, int64 `[R]` (all by default), in random order, the pairs of a place evenly apart."""
        rows = np.arange(len(self)) if rows is None else rows
        _, groups = np.unique(self.places[rows], return_inverse=True)
        return rows[spread_evenly(groups, generator)] if len(rows) else rows

    def random_batches(
        self, batch_size: int, generator: np.random.Generator, rows: np.ndarray | None = None
    ) -> list[list[int]]:
        """Return whole batches of rows, int64 `[R]` (all by default), at random."""
        return first_fit(self.shuffled(generator, rows), self.keys, batch_size)

    def no_partners(self) -> Ragged:
        """Return, per pair, the places that cannot meet it: its own, and those that share a tile with it."""
        own = Ragged(self.places, np.arange(len(self) + 1))
        if self.tiles is None:
            return own
        _, numbers = np.unique(self.tiles.values, return_inverse=True)
        shows = csr_matrix((np.ones(len(numbers), np.int64), numbers, self.tiles.offsets))
        member = csr_matrix((np.ones(len(self), np.int64), own.values, own.offsets))
        together = (shows @ (shows.T @ member) + member).tocsr()
        return Ragged(together.indices, together.indptr)


class PlaceBatchSampler(EpochBatchSampler):
    """No place twice in a batch: for data sets with several images of a place.

    The pairs of a place are spread over the epoch at random but evenly, so that next to none are left over.

    Args:
        places: place label of every pair, int64 `[P]`, as in `PairDataset.places`.
        batch_size: pairs a batch, at most as many as there are places.
        seed: see EpochBatchSampler.
        tiles: the tiles that show the place of each pair, where tiles overlap; no tile comes twice in a batch.
    """

    def __init__(self, places: np.ndarray, batch_size: int, seed: int = 0, tiles: Ragged | None = None):
        self.conflicts = Conflicts(places, tiles)
        super().__init__(len(self.conflicts), batch_size, seed)

    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """Return the whole batches of one epoch."""
        return self.conflicts.random_batches(self.batch_size, generator)

    def too_few(self) -> str:
        """Return the message for an epoch without a batch."""
        places, pairs = len(self.conflicts.pairs), len(self.conflicts)
        if places >= self.batch_size and self.conflicts.tiles is not None:
            return _too_few_tiles(pairs, self.batch_size)
        return (
            f"The {pairs:,} training pairs show {places:,} places, too few for a batch of {self.batch_size} in which "
            f"no place comes twice. Choose a batch size of at most {places:,}, or more pairs."
        )


class DisjointTilesBatchSampler(EpochBatchSampler):
    """No two pairs of a batch share a tile: for tiles that overlap (VIGOR), where a negative may show the place too.

    Args:
        tiles: the tiles that show the place of each pair, `[P]` rows.
        batch_size: pairs a batch.
        seed: see EpochBatchSampler.
    """

    def __init__(self, tiles: Ragged, batch_size: int, seed: int = 0):
        self._keys = _numbered(tiles)
        super().__init__(len(tiles), batch_size, seed)

    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """Return the whole batches of one epoch."""
        return first_fit(generator.permutation(len(self._keys)), self._keys, self.batch_size)

    def too_few(self) -> str:
        """Return the message for an epoch without a batch."""
        return _too_few_tiles(len(self._keys), self.batch_size)


def _too_few_tiles(pairs: int, batch_size: int) -> str:
    return (
        f"Among the {pairs:,} training pairs, no {batch_size} were found of which no two share an aerial tile. "
        "Choose a smaller batch size, or more pairs."
    )


def _numbered(tiles: Ragged, first: int = 0) -> list[tuple[int, ...]]:
    """Return the tiles of every row, numbered from `first`."""
    _, numbers = np.unique(tiles.values, return_inverse=True)
    flat, ends = (numbers + first).tolist(), tiles.offsets.tolist()
    return [tuple(flat[start:stop]) for start, stop in zip(ends, ends[1:])]


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
        order: rows, int64 `[P]`.
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
