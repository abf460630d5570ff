"""Exact ranks of the right references, counted tile by tile in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from ..utils.ragged import group
from .query_block import QueryBlock
from .similarity import Vectors, pair_similarities, plain_float32
from .truth import Truth

TIES = ("pessimistic", "optimistic")
TIE = 1e-12  # similarities closer than this are equal: above float64's rounding, far below any real difference
CPU_BYTES = 56 * 2**20  # tiles large enough for products at full speed; larger ones are no faster
TALL = 3  # times as many queries in a tile as references
EVEN = 64  # a product of other than whole vector registers takes up to a tenth longer
GPU_BYTES = 1024 * 2**20  # larger products keep a GPU busy, and move host-side embeddings fewer times


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the best right reference of every query stands; 0 is the top.

    Args:
        plain: int64 `[N]`, references that beat the best positive; positives do not compete with each other.
        without_ignored: int64 `[N]`, the same with the query's ignored taken out of the gallery.
        found: bool `[N]`, whether the gallery holds a positive at all; where not, both ranks are `num_references`.
        similarity: float64 `[N]`, cosine of the best positive; infinite where there is none.
        num_references: size of the gallery; where the truth has groups, the number of groups, which are what is ranked.
    """

    plain: np.ndarray
    without_ignored: np.ndarray
    found: np.ndarray
    similarity: np.ndarray
    num_references: int

    def __len__(self) -> int:
        return len(self.plain)

    @classmethod
    def joined(cls, parts: Sequence[Ranks]) -> Ranks:
        """Return the ranks of consecutive parts of the queries."""
        names = ("plain", "without_ignored", "found", "similarity")
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
        return cls(*columns, parts[0].num_references)

    def take(self, rows: np.ndarray) -> Ranks:
        """The ranks of some queries (indices or a mask)."""
        return Ranks(
            self.plain[rows], self.without_ignored[rows], self.found[rows], self.similarity[rows], self.num_references
        )


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
    """Rank of each query's best positive by cosine similarity, exactly.

    Where the truth has groups, what is counted are groups: a list of the most similar references, of which only the
    first of every group is kept, and in it the first right one. A positive that another reference of its own group
    beats is not in that list.

    The ranks are those of float64 arithmetic, whatever the tiles: similarities come from bfloat16 products where the
    processor is fast in them, else from float32 ones, and what lies within their error of the best positive's
    similarity is computed again, in float64 in the end.

    Args:
        query: `[N, D]`, any floating type, any norm. A zero vector has similarity 0 to everything.
        reference: `[M, D]`, likewise.
        truth: the right answers; by default query i is shown by reference i alone.
        ties: "pessimistic" counts references as similar as the best positive against the query; "optimistic" does not.
        device: where to compute; by default where `query` is.
        buffer_bytes: memory for tiles; by default 48 MiB on the CPU and 1 GiB on a GPU.
        ref_includes_query: reference i is query i itself and is left out for it.
        progress: show a progress bar.

    Raises:
        NonFiniteEmbeddingsError: an embedding is NaN or infinite.
        ValueError: sizes or truth do not fit.
    """
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, not {ties!r}")
    device = _working_device(query, device)
    height, width = tile_shape(query.shape[-1], buffer_bytes or (CPU_BYTES if device.type == "cpu" else GPU_BYTES))
    with plain_float32(device):
        queries, references = Vectors(query, "query", device), Vectors(reference, "reference", device)
        _check_sizes(queries, references, truth, ref_includes_query)
        pairs = _Pairs(truth or Truth.diagonal(len(queries)), len(references), ref_includes_query)
        best = _best(queries, references, pairs, ties)
        threshold = best + (-TIE if ties == "pessimistic" else TIE)  # what is at least this counts
        if pairs.groups is not None:
            height = max(1, min(height, CPU_BYTES // (4 * pairs.num_groups)))
        without = _count_all(queries, references, threshold, pairs, (height, width), progress)
        neutral = _count_neutrals(queries, references, threshold, pairs)
    similarity = best.cpu().numpy()
    found = np.isfinite(similarity)
    num = len(references) if pairs.groups is None else pairs.num_groups
    return Ranks(np.where(found, without + neutral, num), np.where(found, without, num), found, similarity, num)


def tile_shape(size: int, buffer_bytes: int) -> tuple[int, int]:
    """Queries and references of a tile, so that both and what is computed of them fit `buffer_bytes`.

    Three times as many queries as references: these are converted anew for every block of queries. Of each, up to ten
    bytes an entry are held (float32 and bfloat16; float64 of a part), of each similarity 13 (itself, masks, counts).
    """
    operands, cell = 10 * size * (1 + TALL), 13 * TALL
    width = max(1, int((sqrt(operands**2 + 4 * cell * buffer_bytes) - operands) / (2 * cell)))
    width -= width % EVEN if width > EVEN else 0
    return TALL * width, width


class _Pairs:
    """(query, reference) index pairs of a truth, sorted by query: positives, ignored, and all that do not compete.

    With groups, also `groups` (numbers from 0, `[M]`), their number, and `mates`: references that are not right in
    groups that hold a right one.
    """

    def __init__(self, truth: Truth, num_references: int, ref_includes_query: bool):
        def keys(ragged):
            return np.unique(ragged.rows() * num_references + ragged.values)

        themselves = np.arange(len(truth)) * (num_references + 1) if ref_includes_query else np.empty(0, np.int64)
        positives = np.setdiff1d(keys(truth.positives), themselves, assume_unique=True)
        ignored = np.empty(0, np.int64)
        if truth.ignored is not None:
            ignored = np.setdiff1d(keys(truth.ignored), np.concatenate([positives, themselves]))
        left_out = np.sort(np.concatenate([positives, ignored, themselves]))
        self.groups, self.num_groups, mates = None, 0, np.empty(0, np.int64)
        if truth.groups is not None:
            names, numbers = np.unique(truth.groups, return_inverse=True)
            self.groups, self.num_groups = torch.from_numpy(numbers.reshape(-1)), len(names)
            rows, columns = np.divmod(positives, num_references)
            asked = np.unique(np.stack([rows, numbers.reshape(-1)[columns]]), axis=1)
            members = group(numbers.reshape(-1), asked[1])
            every = np.repeat(asked[0], members.counts()) * num_references + members.values
            mates = np.setdiff1d(every, left_out)
        self.positives, self.ignored, self.left_out, self.mates = (
            tuple(map(torch.from_numpy, np.divmod(part, num_references)))
            for part in (positives, ignored, left_out, mates)
        )


def _best(query: Vectors, reference: Vectors, pairs: _Pairs, ties: str) -> Tensor:
    """Similarity of each query's best positive that its own group does not hide, float64 `[N]`; infinite without."""
    rows, columns = (part.to(query.device) for part in pairs.positives)
    similarities = pair_similarities(query, rows, reference, columns)
    if len(pairs.mates[0]):
        hidden = similarities <= _best_mates(query, reference, pairs) + (TIE if ties == "pessimistic" else -TIE)
        rows, similarities = rows[~hidden], similarities[~hidden]
    best = torch.full((len(query),), -torch.inf, dtype=torch.float64, device=query.device)
    best.scatter_reduce_(0, rows, similarities, reduce="amax")
    return torch.where(torch.isinf(best), torch.inf, best)


def _best_mates(query: Vectors, reference: Vectors, pairs: _Pairs) -> Tensor:
    """For every positive, the highest similarity of a wrong reference of its group, float64; -infinity without one."""
    keys = [rows * pairs.num_groups + pairs.groups[columns] for rows, columns in (pairs.mates, pairs.positives)]
    known, at = keys[0].unique(return_inverse=True)
    rows, columns = (part.to(query.device) for part in pairs.mates)
    similarities = pair_similarities(query, rows, reference, columns)
    highest = torch.full((len(known) + 1,), -torch.inf, dtype=torch.float64, device=query.device)
    highest.scatter_reduce_(0, at.to(query.device), similarities, reduce="amax")
    wanted = torch.searchsorted(known, keys[1]).clamp(max=len(known) - 1)
    wanted[known[wanted] != keys[1]] = len(known)  # the last one, which nothing was written to
    return highest[wanted.to(query.device)]


def _count_neutrals(query: Vectors, reference: Vectors, threshold: Tensor, pairs: _Pairs) -> np.ndarray:
    """Number of each query's ignored that reach its threshold, int64 `[N]`."""
    rows, columns = (part.to(query.device) for part in pairs.ignored)
    reach = pair_similarities(query, rows, reference, columns) >= threshold[rows]
    return np.bincount(rows[reach].cpu().numpy(), minlength=len(query))


def _count_all(
    query: Vectors, reference: Vectors, threshold: Tensor, pairs: _Pairs, shape: tuple[int, int], progress: bool
) -> np.ndarray:
    """Number of competing references, or groups, that reach each query's threshold, int64 `[N]`."""
    height, width = shape
    counts = []
    starts = range(0, len(query), height)
    if progress:
        from tqdm import tqdm

        starts = tqdm(starts, desc="ranking", unit="block", leave=False)
    for start in starts:
        block = QueryBlock(
            query, slice(start, start + height), reference, threshold, pairs.left_out, pairs.groups, pairs.num_groups
        )
        columns = [slice(left, min(left + width, len(reference))) for left in range(0, len(reference), width)]
        counts.append(block.count(columns).cpu())
    return torch.cat(counts).numpy()


def _working_device(query: Tensor | np.ndarray, device: torch.device | str | None) -> torch.device:
    if device is None:
        device = query.device if isinstance(query, Tensor) else "cpu"
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device  # Apple's GPUs have no float64


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
