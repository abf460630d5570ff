"""Samplers that follow a table of neighbours, and how such a table comes from embeddings."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..evaluation.nearest import finite_rows, most_similar
from ..utils.ragged import Ragged
from .base import EpochBatchSampler
from .filling import BatchBuilder, Conflicts


class MinedBatchSampler(EpochBatchSampler):
    """Batches that follow a table of neighbours; as long as there is none, random ones under the same rules.

    Every epoch has as many batches as a random one. Choosing neighbours can leave pairs over that may not meet; where
    that makes an epoch too short, as much of its end as it takes is dealt out at random.

    Args:
        places: place label of every pair, int64 `[P]`; no place comes twice in a batch.
        batch_size: pairs a batch.
        seed: see EpochBatchSampler.
        tiles: the tiles that show the place of each pair, where tiles overlap; no tile comes twice in a batch.

    Attributes:
        table: int32 `[P, R]`, the places (numbered as in `apart`) that are a pair's neighbours, nearest first, then -1;
            None: none is known.
    """

    def __init__(self, places: np.ndarray, batch_size: int, seed: int = 0, tiles: Ragged | None = None):
        self.apart = Conflicts(places, tiles)
        self.table: np.ndarray | None = None
        super().__init__(len(self.apart), batch_size, seed)

    @abstractmethod
    def fill(self, tray: BatchBuilder, generator: np.random.Generator) -> bool:
        """Fills one batch; returns whether it became full."""

    def neighbours(self, pair: int) -> np.ndarray:
        """The places in the pair's row of the table."""
        row = self.table[pair]
        return row[row >= 0]

    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """See EpochBatchSampler."""
        if self.table is None:
            return self.apart.random_batches(self.batch_size, generator)
        tray, batches = BatchBuilder(self.apart, self.batch_size, generator), []
        while self.fill(tray, generator):
            batches.append(tray.take())
        return self._lengthened(batches, generator)

    def _lengthened(self, batches: list[list[int]], generator: np.random.Generator) -> list[list[int]]:
        """Deals out the last 1, 2, 4 ... batches, and what was left over, anew until there are enough."""
        found = batches
        for again in (2**power for power in range(len(batches).bit_length() + 1)):
            if len(found) >= len(self):
                break
            kept = batches[: max(0, len(batches) - again)]
            rest = np.setdiff1d(np.arange(len(self.apart)), np.array(kept, np.int64))
            found = kept + self.apart.random_batches(self.batch_size, generator, rest)
        return found

    def too_few(self) -> str:
        """See EpochBatchSampler."""
        return self.apart.too_few(self.batch_size)


class EmbeddingNeighbours:
    """The part of a MinedBatchSampler whose table is measured: the places most similar to each pair's query.

    A class that has it says how long a table is (`table_length`), from how many places, drawn at random, each table is
    made (`pool`; None: all), and what stands in for a table before there are embeddings (`first_table`).
    """

    table_length: int
    pool: int | None = None
    first_table: np.ndarray | None = None
    updates = 0  # tables that were made

    def update(self, query: Tensor | np.ndarray, reference: Tensor | np.ndarray) -> None:
        """Makes the table for the epochs to come.

        The reference of a place is that of one of its pairs, drawn at random among those that have one.

        Args:
            query: embeddings `[P, D]`, one row a pair; rows of NaN (not seen yet) have no neighbours.
            reference: the same of the references; rows of NaN are nobody's neighbours.
        """
        if len(query) != len(self.apart) or len(reference) != len(self.apart):
            raise ValueError(
                f"one row a pair is needed, {len(self.apart)}, but there are {len(query)} query and {len(reference)} "
                "reference embeddings"
            )
        self.updates += 1
        generator = np.random.default_rng([self.seed, self.updates, 0, 1])  # not the key of any epoch's order
        self.table = similar_places(self.apart, query, reference, self.table_length, self.pool, generator)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to draw the same batches; call it after `update`, not before."""
        return {"updates": self.updates, "table": torch.from_numpy(self.table) if self.updates else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up such a state.

        Raises:
            ValueError: the table is about other pairs, or of another length.
        """
        table = self.first_table
        if state["table"] is not None:
            table, wanted = state["table"].cpu().numpy(), (len(self.apart), self.table_length)
            if table.shape != wanted or table.max(initial=-1) >= len(self.apart.pairs):
                raise ValueError(f"the table of neighbours is {list(table.shape)}, not {list(wanted)}")
        self.table, self.updates = table, state["updates"]


def similar_places(
    apart: Conflicts,
    query: Tensor | np.ndarray,
    reference: Tensor | np.ndarray,
    count: int,
    pool: int | None,
    generator: np.random.Generator,
) -> np.ndarray:
    """The table of the places most similar to each pair's query, among `pool` places at random, int32 `[P, count]`."""
    reference = torch.as_tensor(reference)
    seen = generator.permutation(finite_rows(reference))
    places, first = np.unique(apart.places[seen], return_index=True)
    rows = seen[first]  # one a place
    if pool is not None and pool < len(rows):
        chosen = generator.permutation(len(rows))[:pool]
        places, rows = places[chosen], rows[chosen]
    row_of_place = np.full(len(apart.pairs), -1, np.int64)
    row_of_place[places] = rows
    left_out = apart.no_partners().renumbered(row_of_place)
    _, neighbours = most_similar(query, reference, count, candidates=rows, left_out=left_out)
    return np.append(apart.places, -1).astype(np.int32)[neighbours]  # row -1 is the last
