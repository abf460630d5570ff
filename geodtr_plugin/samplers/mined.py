"""Samplers that fill batches by a table of neighbours, and how such a table comes from embeddings."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..evaluation.nearest import finite_rows, most_similar
from ..utils.ragged import group
from .disjoint import Conflicts, PlaceBatchSampler

if TYPE_CHECKING:
    from ..distances import HeadingDistance


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


class MinedBatchSampler(PlaceBatchSampler):
    """Batches that follow a table of neighbours; as long as there is none, those of a PlaceBatchSampler.

    Every epoch has as many batches as a random one. Choosing neighbours can leave pairs over that may not meet; where
    that makes an epoch too short, as much of its end as it takes is dealt out at random.

    Attributes:
        table: int32 `[P, R]`, the places (numbered as in `conflicts`) that are a pair's neighbours, nearest first,
            then -1; None: none is known.
    """

    table: np.ndarray | None = None

    @abstractmethod
    def fill(self, batch: BatchBuilder, generator: np.random.Generator) -> bool:
        """Fill one batch; return whether it became full."""

    def neighbours(self, pair: int) -> np.ndarray:
        """Return the places in the pair's row of the table, int32 `[R]` at most."""
        assert self.table is not None  # batches are filled by it
        row = self.table[pair]
        return row[row >= 0]

    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """Return the whole batches of one epoch."""
        if self.table is None:
            return super().draw(generator)
        batch, batches = BatchBuilder(self.conflicts, self.batch_size, generator), []
        while self.fill(batch, generator):
            batches.append(batch.take())
        return self._lengthened(batches, generator)

    def _lengthened(self, batches: list[list[int]], generator: np.random.Generator) -> list[list[int]]:
        """Deal out the last 1, 2, 4 ... batches, and what was left over, anew until there are enough."""
        enough = batches
        for again in (2**power for power in range(len(batches).bit_length() + 1)):
            if len(enough) >= len(self):
                break
            kept = batches[: max(0, len(batches) - again)]
            rest = np.setdiff1d(np.arange(len(self.conflicts)), np.array(kept, np.int64))
            enough = kept + self.conflicts.random_batches(self.batch_size, generator, rest)
        return enough


class EmbeddingNeighbours(MinedBatchSampler):
    """Batches that follow a measured table: the places most similar to each pair's query.

    A subclass says how long a table is (`table_length`), from how many places, drawn at random, each table is
    made (`pool`; None: all), and what stands in for a table before there are embeddings (`first_table`).
    """

    table_length: int
    pool: int | None = None
    first_table: np.ndarray | None = None
    updates = 0  # tables that were made

    def update(
        self, query: Tensor | np.ndarray, reference: Tensor | np.ndarray, distance: HeadingDistance | None = None
    ) -> None:
        """Make the table for the epochs to come.

        The reference of a place is that of one of its pairs, drawn at random among those that have one.

        Args:
            query: embeddings `[P, D]`, one row a pair; rows of NaN (not seen yet) have no neighbours.
            reference: the same of the references; rows of NaN are nobody's neighbours.
            distance: by which they are compared in place of the cosine, where the model has one of its own.

        Raises:
            ValueError: there is not one row a pair.
        """
        if len(query) != len(self.conflicts) or len(reference) != len(self.conflicts):
            raise ValueError(
                f"one row a pair is needed, {len(self.conflicts)}, but there are {len(query)} query and "
                f"{len(reference)} reference embeddings"
            )
        self.updates += 1
        generator = np.random.default_rng([self.seed, self.updates, 0, 1])  # not the key of any epoch's order
        parts = self.conflicts, query, reference, self.table_length, self.pool, generator
        self.table = similar_places(*parts, distance)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to draw the same batches; call it after `update`, not before."""
        measured = self.table if self.updates else None
        return {"updates": self.updates, "table": None if measured is None else torch.from_numpy(measured)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state.

        Raises:
            ValueError: the table is about other pairs, or of another length.
        """
        table = self.first_table
        if state["table"] is not None:
            table, wanted = state["table"].cpu().numpy(), (len(self.conflicts), self.table_length)
            if table.shape != wanted or table.max(initial=-1) >= len(self.conflicts.pairs):
                raise ValueError(f"the table of neighbours is {list(table.shape)}, not {list(wanted)}")
        self.table, self.updates = table, state["updates"]


def similar_places(
    conflicts: Conflicts,
    query: Tensor | np.ndarray,
    reference: Tensor | np.ndarray,
    count: int,
    pool: int | None,
    generator: np.random.Generator,
    distance: HeadingDistance | None = None,
) -> np.ndarray:
    """Return the places most similar to each pair's query, among `pool` random ones, int32 `[P, count]`, then -1.

    Query and reference embeddings are `[P, D]`; rows of NaN have no neighbours, or are nobody's.
    """
    reference = torch.as_tensor(reference)
    seen = generator.permutation(finite_rows(reference))
    places, first = np.unique(conflicts.places[seen], return_index=True)
    rows = seen[first]  # one a place
    if pool is not None and pool < len(rows):
        chosen = generator.permutation(len(rows))[:pool]
        places, rows = places[chosen], rows[chosen]
    row_of_place = np.full(len(conflicts.pairs), -1, np.int64)
    row_of_place[places] = rows
    left_out = conflicts.no_partners().renumbered(row_of_place)
    _, neighbours = most_similar(query, reference, count, candidates=rows, left_out=left_out, distance=distance)
    return np.append(conflicts.places, -1).astype(np.int32)[neighbours]  # row -1 is the last
