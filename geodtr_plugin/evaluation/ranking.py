"""Exact ranks: at which place of the gallery does the first right reference of a query stand?

References are ordered by cosine similarity to the query. The *best positive* is the most similar right one. Then

    rank = number of references that are not right and at least as similar as the best positive     (0 is the top)

* Other right references do not compete; a query without any right reference has the rank N, the size of the gallery.
* Ties, similarities within 1e-12 of each other, count against the query ("pessimistic"), or for it ("optimistic").
* Ignored references (VIGOR's semi-positives) compete in `plain`, and are taken out of the gallery in `without_ignored`.
* Where the truth has groups, groups compete in place of references; see `groups`.

The ranks are those of float64 arithmetic, counted tile by tile; see `tiles` for how that is fast on a CPU, and
`large_tiles` on a GPU. Memory is bounded by the tiles, whose size changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..utils.ragged import Ragged
from .groups import Groups
from .large_tiles import LargeTiles, large_tiles_pay
from .similarity import Vectors, pair_similarities, plain_float32
from .tiles import QueryBlock
from .truth import Truth

TIES = ("pessimistic", "optimistic")
TIE = 1e-12  # similarities closer than this are equal: above float64's rounding, far below any real difference
TILE_BYTES = {"cpu": 6 * 2**20, "cuda": 8 * 2**20}  # a tile stays in a CPU's cache, and is small on a GPU
CELL_BYTES = 12  # of a tile: its similarity, and what is compared and counted of it


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the best right reference of every query stands; 0 is the top.

    Args:
        plain: int64 `[N]`, references that beat the best positive; positives do not compete with each other.
        without_ignored: int64 `[N]`, the number of these that are not ignored.
        found: bool `[N]`, whether the gallery holds a positive at all; where not, both ranks are `num_references`.
        similarity: float64 `[N]`, cosine of the best positive; infinite where there is none.
        num_references: size of the gallery; where the truth has groups, the number of groups, which are what is ranked.
    """

    plain: np.ndarray
    without_ignored: np.ndarray
    found: np.ndarray
    similarity: np.ndarray
    num_references: int

    COLUMNS: ClassVar = ("plain", "without_ignored", "found", "similarity")

    def __len__(self) -> int:
        return len(self.plain)

    @classmethod
    def joined(cls, parts: Sequence[Ranks]) -> Ranks:
        """Return the ranks of consecutive parts of the queries."""
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.COLUMNS}
        return cls(**columns, num_references=parts[0].num_references)

    def take(self, rows: np.ndarray) -> Ranks:
        """Return the ranks of some queries (indices `[n]` or a mask `[N]`)."""
        columns = {name: getattr(self, name)[rows] for name in self.COLUMNS}
        return Ranks(**columns, num_references=self.num_references)


@torch.no_grad()
def rank_queries(
    query: Tensor | np.ndarray,
    reference: Tensor | np.ndarray,
    truth: Truth | None = None,
    *,
    ties: str = "pessimistic",
    device: torch.device | str | None = None,
    buffer_bytes: int | None = None,
    ref_includes_query: bool = False,
    progress: bool = False,
) -> Ranks:
    """Return the rank of each query's best positive by cosine similarity, exactly, as the module defines it.

    Args:
        query: `[N, D]`, any floating type, any norm. A zero vector has similarity 0 to everything.
        reference: `[M, D]`, likewise.
        truth: the right answers; by default query i is shown by reference i alone.
        ties: "pessimistic" counts references as similar as the best positive against the query; "optimistic" does not.
        device: where to compute; by default where `query` is.
        buffer_bytes: memory for a tile; by default TILE_BYTES.
        ref_includes_query: reference i is query i itself and is left out for it.
        progress: show a progress bar.

    Raises:
        NonFiniteEmbeddingsError: an embedding is NaN or infinite.
        ValueError: sizes or truth do not fit.
    """
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, not {ties!r}")
    device = _working_device(query, device)
    margin = TIE if ties == "optimistic" else -TIE  # what is at least the best positive's similarity plus this counts
    with plain_float32(device):
        queries, references = Vectors(query, "query", device), Vectors(reference, "reference", device)
        _check_sizes(queries, references, truth, ref_includes_query)
        truth = truth or Truth.diagonal(len(queries))
        pairs = _LeftOut(truth, ref_includes_query, device)
        groups = None if truth.groups is None else Groups(truth.groups, device)
        similarity = _best_positives(queries, references, pairs, groups, margin)
        threshold = similarity + margin
        competing = _count(queries, references, threshold, pairs, groups, buffer_bytes, progress)
        rows, columns = pairs.ignored
        reached = pair_similarities(queries, rows, references, columns) >= threshold[rows]
        ignored = torch.bincount(rows[reached], minlength=len(queries))
    found = similarity.isfinite()
    size = len(references) if groups is None else groups.count
    plain, without = (torch.where(found, counts, size).cpu().numpy() for counts in (competing + ignored, competing))
    return Ranks(plain, without, found.cpu().numpy(), similarity.cpu().numpy(), size)


class _LeftOut:
    """The (query, reference) pairs that do not compete: positives, ignored ones, and queries themselves.

    Each is two int64 `[T]` on the device, sorted by query: `positives`, `ignored`, and `all` of them.
    """

    def __init__(self, truth: Truth, ref_includes_query: bool, device: torch.device):
        def pairs(ragged: Ragged | None) -> tuple[np.ndarray, np.ndarray]:
            rows, columns = (np.empty(0, np.int64),) * 2 if ragged is None else (ragged.rows(), ragged.values)
            kept = rows != columns if ref_includes_query else slice(None)
            return rows[kept], columns[kept]

        themselves = (np.arange(len(truth) if ref_includes_query else 0),) * 2
        parts = [pairs(truth.positives), pairs(truth.ignored), themselves]
        rows, columns = (np.concatenate(part) for part in zip(*parts))
        order = np.argsort(rows, kind="stable")
        self.numbers = parts[2] = (rows[order], columns[order])  # of all, on the CPU
        self.positives, self.ignored, self.all = (
            tuple(torch.from_numpy(part).to(device) for part in both) for both in parts
        )

    def within(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return all pairs of some queries, whose numbers count from the first of these."""
        ends = torch.searchsorted(self.all[0], torch.tensor([rows.start, rows.stop], device=self.all[0].device))
        return self.all[0][ends[0] : ends[1]] - rows.start, self.all[1][ends[0] : ends[1]]


def _best_positives(
    query: Vectors, reference: Vectors, pairs: _LeftOut, groups: Groups | None, margin: float
) -> Tensor:
    """Return the similarity of each query's best positive, float64 `[N]`; infinite for a query without one."""
    rows, columns = pairs.positives
    similarities = pair_similarities(query, rows, reference, columns)
    if groups is not None:
        shown = groups.shown(query, reference, pairs.positives, pairs.all, similarities, margin)
        rows, similarities = rows[shown], similarities[shown]
    best = torch.full((len(query),), -torch.inf, dtype=torch.float64, device=query.device)
    best.scatter_reduce_(0, rows, similarities, reduce="amax")
    return torch.where(best.isinf(), torch.inf, best)


def _count(
    query: Vectors, reference: Vectors, threshold: Tensor, pairs: _LeftOut, groups: Groups | None,
    buffer_bytes: int | None, progress: bool,
) -> Tensor:  # fmt: skip
    """Return how many competing references, or groups, reach each query's threshold, int64 `[N]`."""
    if groups is None and large_tiles_pay(query, reference):
        return LargeTiles(query, reference, threshold, pairs.numbers, buffer_bytes).counts()
    height, width = tile_shape(buffer_bytes or TILE_BYTES.get(query.device.type, TILE_BYTES["cuda"]))
    tiles = [slice(left, min(left + width, len(reference))) for left in range(0, len(reference), width)]
    counts = torch.empty(len(query), dtype=torch.int64, device=query.device)
    for top in tqdm(range(0, len(query), height), desc="ranking", unit="block", leave=False, disable=not progress):
        rows = slice(top, min(top + height, len(query)))
        block = QueryBlock(query, rows, reference, threshold, pairs.within(rows))
        reached = map(block.reached, tiles)
        if groups is None:
            counts[rows] = sum(tile.sum(dim=1).long() for tile in reached)
        else:
            counts[rows] = groups.counted(rows.stop - rows.start, zip(tiles, reached))
    return counts


def tile_shape(buffer_bytes: int) -> tuple[int, int]:
    """Return the numbers of queries, and of references, half as many, of a tile that fits `buffer_bytes`."""
    width = max(1, isqrt(buffer_bytes // (2 * CELL_BYTES)))
    return 2 * width, width  # tall, because the references are converted again for every block of queries


def _working_device(query: Tensor | np.ndarray, device: torch.device | str | None) -> torch.device:
    if device is None:
        device = query.device if isinstance(query, Tensor) else "cpu"
    working = torch.device(device)
    return torch.device("cpu") if working.type == "mps" else working  # Apple's GPUs have no float64


def _check_sizes(query: Vectors, reference: Vectors, truth: Truth | None, ref_includes_query: bool) -> None:
    if query.size != reference.size:
        raise ValueError(f"queries have {query.size} entries and references {reference.size}: not one space")
    if truth is None and len(query) != len(reference):
        raise ValueError(f"{len(query)} queries and {len(reference)} references: without a truth they must pair up")
    if truth is not None:
        if len(truth) != len(query):
            raise ValueError(f"the truth is about {len(truth)} queries, but there are {len(query)}")
        truth.check(len(reference))
    if ref_includes_query and len(reference) < len(query):
        raise ValueError("ref_includes_query needs the queries to be the first references")
