"""Retrieval metrics of cross-view geo-localization: functions of exact ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .ranking import Ranks, rank_queries
from .truth import Truth
from .uncertainty import wilson

if TYPE_CHECKING:
    from ..distances import HeadingDistance

KS = (1, 5, 10)  # the K of R@K that every paper prints
PERCENT_ROUNDING = ("floor", "floor_plus_one")  # floor_plus_one: VIGOR's own script

Metric = Callable[[Ranks], float]


def recall(
    query: Tensor | np.ndarray,
    reference: Tensor | np.ndarray,
    truth: Truth | None = None,
    *,
    ks: Sequence[int] = KS,
    percent_rounding: str = "floor",
    ties: str = "pessimistic",
    device: torch.device | str | None = None,
    interval: bool = True,
    buffer_bytes: int | None = None,
    progress: bool = False,
    distance: HeadingDistance | None = None,
) -> dict[str, float]:
    """Compute all metrics of a retrieval from embeddings; similarity is the cosine, whatever the norms.

    Args:
        query: `[N, D]`.
        reference: `[M, D]`.
        truth: the right answers; by default query i is shown by reference i alone.
        ks, percent_rounding, interval: see `summarise`.
        ties, device, buffer_bytes, progress, distance: see `rank_queries`.

    Returns:
        What `summarise` returns.
    """
    ranks = rank_queries(
        query, reference, truth, ties=ties, device=device, buffer_bytes=buffer_bytes, progress=progress,
        distance=distance,
    )  # fmt: skip
    return summarise(ranks, ks=ks, percent_rounding=percent_rounding, interval=interval)


def summarise(
    ranks: Ranks, *, ks: Sequence[int] = KS, percent_rounding: str = "floor", interval: bool = True
) -> dict[str, float]:
    """Compute all metrics of given ranks, as shares from 0 to 1.

    Args:
        ranks: of the queries. One without a right reference in the gallery counts as a miss everywhere.
        ks: the K of `recall_at_K`.
        percent_rounding: how one percent of the gallery becomes a K, see `one_percent`.
        interval: compute `recall_at_1_low` and `recall_at_1_high`, see `recall_at_1_bound`.

    Returns:
        `recall_at_K` for every K, `recall_at_1_percent`, `hit_rate` (ignored taken out of the gallery; equals
        `recall_at_1` if there are none), `median_rank` (1 is the top), `mean_reciprocal_rank`, the 95 % interval, and
        the counts `num_queries`, `num_references`, `k_at_1_percent`.
    """
    metrics = metric_functions(ks, percent_rounding, interval)
    counts = dict(num_queries=len(ranks), num_references=ranks.num_references)
    counts["k_at_1_percent"] = one_percent(ranks.num_references, percent_rounding)
    return {name: metric(ranks) for name, metric in metrics.items()} | counts


def metric_functions(ks: Sequence[int], percent_rounding: str, interval: bool = True) -> dict[str, Metric]:
    """Return the metrics by name, each a function of `Ranks`; the names are valid SQL columns, as PML's records need.

    Raises:
        ValueError: a K or the rule of rounding is unknown.
    """
    if not all(isinstance(k, int) and k > 0 for k in ks):
        raise ValueError(f"ks must be whole numbers above 0, not {tuple(ks)}")
    one_percent(1, percent_rounding)  # an unknown rule fails here, before hours of embedding
    metrics: dict[str, Metric] = {f"recall_at_{k}": partial(recall_at, k=k) for k in ks}
    metrics["recall_at_1_percent"] = partial(recall_at_one_percent, rounding=percent_rounding)
    metrics |= dict(hit_rate=hit_rate, median_rank=median_rank, mean_reciprocal_rank=mean_reciprocal_rank)
    if interval:
        metrics["recall_at_1_low"] = partial(recall_at_1_bound, end="low")
        metrics["recall_at_1_high"] = partial(recall_at_1_bound, end="high")
    return metrics


def one_percent(num_references: int, rounding: str) -> int:
    """Return the K of R@1%: max(1, floor(N / 100)), or floor(N / 100) + 1 with "floor_plus_one".

    Raises:
        ValueError: the rule of rounding is unknown.
    """
    if rounding not in PERCENT_ROUNDING:
        raise ValueError(f"percent_rounding must be one of {', '.join(PERCENT_ROUNDING)}, not {rounding!r}")
    floor = num_references // 100
    return floor + 1 if rounding == "floor_plus_one" else max(1, floor)


def recall_at(ranks: Ranks, k: int) -> float:
    """Return the share of queries with a right reference among the first k."""
    return float(np.mean(ranks.found & (ranks.plain < k)))


def recall_at_one_percent(ranks: Ranks, rounding: str) -> float:
    """Return the share of queries with a right reference in the first percent of the gallery."""
    return recall_at(ranks, one_percent(ranks.num_references, rounding))


def hit_rate(ranks: Ranks) -> float:
    """Return the share of queries whose first reference, ignored ones aside, is right (as VIGOR's code counts)."""
    return float(np.mean(ranks.found & (ranks.without_ignored < 1)))


def median_rank(ranks: Ranks) -> float:
    """Return the median place of the first right reference: 1 is the top; behind the gallery where there is none."""
    return float(np.median(ranks.plain) + 1)


def mean_reciprocal_rank(ranks: Ranks) -> float:
    """Return the mean of 1 / place of the first right reference, 0 for a query without any."""
    return float(np.mean(np.where(ranks.found, 1.0 / (ranks.plain + 1.0), 0.0)))


def recall_at_1_bound(ranks: Ranks, end: str) -> float:
    """Return the "low" or the "high" end of Wilson's 95 % interval of R@1 over queries, see `wilson`."""
    hits = int((ranks.found & (ranks.plain < 1)).sum())
    return wilson(hits, len(ranks))[("low", "high").index(end)]
