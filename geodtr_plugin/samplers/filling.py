"""Filling batch after batch with pairs that may meet: what the samplers with neighbours share."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from ..utils.ragged import Ragged, as_int64, group
from .disjoint import first_fit, spread_evenly, too_few_places, too_few_tiles


class Conflicts:
    """What must not meet in a batch: two pairs of a place, or two that share a tile.

    Args:
        places: place label of every pair, int64 `[P]`.
        tiles: the tiles that show the place of each pair, `[P]` rows, where tiles overlap.

    Attributes:
        places: the labels, numbered from 0.
        pairs: of every place.
        keys: of every pair, its place first; pairs with a common key must not meet.

    Raises:
        ValueError: there are tiles for another number of pairs.
    """

    def __init__(self, places: np.ndarray, tiles: Ragged | None = None):
        names, self.places = np.unique(as_int64(places), return_inverse=True)
        self.pairs = group(self.places, np.arange(len(names)))
        if tiles is not None and len(tiles) != len(self.places):
            raise ValueError(f"{len(self.places)} pairs came with the tiles of {len(tiles)}")
        self._tiles = tiles
        self.keys: list[tuple[int, ...]] = [(place,) for place in self.places.tolist()]
        if tiles is not None and len(tiles):
            _, numbers = np.unique(tiles.values, return_inverse=True)
            rows = np.split(numbers + len(names), tiles.offsets[1:-1])
            self.keys = [(*place, *row.tolist()) for place, row in zip(self.keys, rows)]

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
        if self._tiles is None:
            return own
        _, numbers = np.unique(self._tiles.values, return_inverse=True)
        shows = csr_matrix((np.ones(len(numbers), np.int64), numbers, self._tiles.offsets))
        member = csr_matrix((np.ones(len(self), np.int64), own.values, own.offsets))
        together = (shows @ (shows.T @ member) + member).tocsr()
        return Ragged(together.indices, together.indptr)

    def too_few(self, batch_size: int) -> str:
        """Return the message for pairs that fill no batch."""
        if len(self.pairs) < batch_size or self._tiles is None:
            return too_few_places(self.places, batch_size)
        return too_few_tiles(len(self), batch_size)


class BatchBuilder:
    """A batch that is being filled, and the pairs that are left in the epoch.

    Args:
        conflicts: what must not meet.
        batch_size: pairs a batch.
        generator: of the random order.
    """

    def __init__(self, conflicts: Conflicts, batch_size: int, generator: np.random.Generator):
        self._keys, self._size = conflicts.keys, batch_size
        order = conflicts.shuffled(generator)
        self._order = order.tolist()  # taken from the end
        by_place = order[group(conflicts.places[order], np.arange(len(conflicts.pairs))).values].tolist()
        ends = conflicts.pairs.offsets.tolist()
        self._of_place = [by_place[start:stop] for start, stop in zip(ends, ends[1:])]
        self._used = bytearray(len(conflicts))
        self._batch: list[int] = []
        self._held: set[int] = set()
        self._deferred: list[int] = []  # came up, but could not meet the batch

    @property
    def full(self) -> bool:
        """Whether the batch is complete."""
        return len(self._batch) == self._size

    def add_next(self) -> int | None:
        """Add the next unused pair of the random order that may join, and return it; None if there is no such."""
        while self._order:
            pair = self._order.pop()
            if self._add(pair):
                return pair
            if not self._used[pair]:
                self._deferred.append(pair)
        return None

    def add_place(self, place: int) -> bool:
        """Add an unused pair of the place, if one may join; return whether one did."""
        waiting = self._of_place[place]
        while waiting and self._used[waiting[-1]]:
            waiting.pop()
        return place not in self._held and any(map(self._add, reversed(waiting)))

    def take(self) -> list[int]:
        """Return the batch, in the order in which it was filled, and begin a new one."""
        batch = self._batch
        self._order += reversed(self._deferred)
        self._batch, self._held, self._deferred = [], set(), []
        return batch

    def _add(self, pair: int) -> bool:
        keys = self._keys[pair]
        if self.full or self._used[pair] or not self._held.isdisjoint(keys):
            return False
        self._batch.append(pair)
        self._held.update(keys)
        self._used[pair] = True
        return True
