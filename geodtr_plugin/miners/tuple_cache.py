"""Tuples of a query, its best positive and its hardest negatives, chosen by cached descriptors (NetVLAD, SARE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import UserError
from ..utils.ragged import Ragged, as_int64
from ..utils.similarity import plain_float32

_BYTES = 256 * 2**20  # descriptors that are gathered at once
_UNSEEN = -2.0  # below every cosine, above the padding


class Tuples(NamedTuple):
    """Rows of queries `[B]`, of their positives `[B]` and of their negatives `[B, K]`, hardest first; all int64."""

    query: np.ndarray
    positive: np.ndarray
    negatives: np.ndarray


class TupleCacheMiner:
    """Chooses training tuples as NetVLAD does (Arandjelovic et al., CVPR 2016, Section 4).

    The positive of a query is the nearest in feature space among its potential positives (10 m). Its negatives are the
    hardest among `pool` random references that lie far from it (25 m), and those of the last time that it was mined.

    Descriptors go stale as the network learns: call `refresh` every so often (NetVLAD: 1,000 queries, and twice as
    many each time that the learning rate is halved). What a query gets depends on the descriptors, the seed, and how
    often it was mined, not on the batch.

    Args:
        positives: per query, the references that may show its place; `datasets.near.within` finds those of 10 m.
        near: per query, the references that are no negatives, positives or not: those of 25 m.
        num_references: size of the gallery.
        negatives: negatives of a tuple.
        pool: random references that compete to be one.
        seed: of the random references.
    """

    def __init__(
        self, positives: Ragged, near: Ragged, num_references: int, negatives: int = 10, pool: int = 1000, seed: int = 0
    ):
        if len(positives) != len(near):
            raise ValueError(f"{len(positives)} queries have positives, {len(near)} have near references")
        if not 1 <= negatives <= pool:
            raise ValueError(f"negatives must be 1 to pool, not {negatives} of {pool}")
        self.positives, self.num_references = positives, num_references
        # positives are no negatives either, even if the lists disagree
        self._near = [np.union1d(a, b) for a, b in zip(positives, near)]
        self.negatives, self.pool, self.seed = negatives, pool, seed
        self._remembered = np.full((len(positives), negatives), -1, np.int64)
        self._visits = np.zeros(len(positives), np.int64)
        self._query: Tensor | None = None
        self._reference: Tensor | None = None
        self._check_negatives()

    @property
    def trainable(self) -> np.ndarray:
        """The queries that have a potential positive, int64, rising: the others make no tuple."""
        return np.flatnonzero(self.positives.counts())

    def refresh(self, query: Tensor | np.ndarray, reference: Tensor | np.ndarray) -> None:
        """Takes new descriptors, of unit norm: `[N, D]` and `[num_references, D]`; NaN for those not seen yet."""
        query, reference = torch.as_tensor(query).detach(), torch.as_tensor(reference).detach()
        if (len(query), len(reference)) != (len(self.positives), self.num_references):
            raise ValueError(
                f"{len(self.positives)} queries and {self.num_references} references came with {len(query)} and "
                f"{len(reference)} descriptors"
            )
        self._query, self._reference = query, reference

    def mine(self, queries: Sequence[int] | np.ndarray | Tensor) -> Tuples:
        """The tuples of some distinct, trainable queries `[B]`, and remembers their negatives."""
        if self._query is None:
            raise RuntimeError("refresh must bring descriptors before tuples can be mined")
        rows = np.ascontiguousarray(as_int64(queries))  # tensors know no other order
        lonely = rows[self.positives.counts()[rows] == 0]
        if len(lonely):
            raise UserError(f"Query {lonely[0]} has no potential positive; mine those in `trainable` alone.")
        positives = _padded([self.positives[row] for row in rows])
        negatives = _padded([self._candidates(row) for row in rows.tolist()])
        best = self._most_similar(rows, positives, 1)[:, 0]
        hardest = self._most_similar(rows, negatives, self.negatives)
        self._remembered[rows] = hardest
        self._visits[rows] += 1
        return Tuples(rows, best, hardest)

    def _candidates(self, row: int) -> np.ndarray:
        """The references that compete to be a negative of one query, distinct and rising."""
        generator = np.random.default_rng([self.seed, row, self._visits[row]])
        near = self._near[row]
        far = self.num_references - len(near)
        drawn = generator.choice(far, min(self.pool, far), replace=False)
        # the n-th of those that are not near is n places further on for each near one before it
        drawn += np.searchsorted(near - np.arange(len(near)), drawn, side="right")
        remembered = self._remembered[row]
        return np.union1d(drawn, remembered[remembered >= 0])

    @torch.no_grad()
    def _most_similar(self, rows: np.ndarray, candidates: np.ndarray, count: int) -> np.ndarray:
        """The `count` candidates (references `[B, C]`, -1 for none) most similar to each query, best first."""
        device, size = self._reference.device, self._reference.shape[1]
        step = max(1, _BYTES // (4 * size * candidates.shape[1]))
        parts = []
        with plain_float32(device):
            for start in range(0, len(rows), step):
                ids = torch.from_numpy(candidates[start : start + step]).to(device)
                query = self._query[torch.from_numpy(rows[start : start + step])].to(device, torch.float32)
                similarities = torch.einsum("bcd,bd->bc", self._reference[ids].float(), query)
                similarities = similarities.nan_to_num(nan=_UNSEEN).masked_fill(ids < 0, -torch.inf)
                order = similarities.sort(dim=1, descending=True, stable=True).indices[:, :count]
                parts.append(ids.gather(1, order).cpu())
        return torch.cat(parts).numpy()

    def _check_negatives(self) -> None:
        far = self.num_references - np.array([len(near) for near in self._near], np.int64)
        if len(far) and far.min() < self.negatives:
            row = int(far.argmin())
            raise UserError(
                f"Query {row} lies far from {far[row]} references only, too few for {self.negatives} negatives. Ask "
                "for fewer negatives, or leave it out."
            )

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs, apart from the descriptors."""
        return {"remembered": torch.tensor(self._remembered), "visits": torch.tensor(self._visits)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up such a state; raises ValueError if it is about other queries, or another number of negatives."""
        if state["remembered"].shape != self._remembered.shape:
            wanted = list(self._remembered.shape)
            raise ValueError(f"the remembered negatives are {list(state['remembered'].shape)}, not {wanted}")
        self._remembered, self._visits = state["remembered"].numpy().copy(), state["visits"].numpy().copy()


def _padded(lists: list[np.ndarray]) -> np.ndarray:
    """The lists as rows of a table, filled up with -1."""
    table = np.full((len(lists), max(map(len, lists), default=0)), -1, np.int64)
    for row, values in zip(table, lists):
        row[: len(values)] = values
    return table
