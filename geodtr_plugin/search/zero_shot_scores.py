"""The numbers of a search without training: shares and ranks with their intervals, and chance beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..evaluation import Ranks
from ..evaluation.metrics import KS
from ..evaluation.uncertainty import beyond_by_chance, bootstrap, wilson
from ..utils.tables import text_table
from .zero_shot import LAYOUTS, Outcome

Scores = dict[str, Any]
STATISTICS: dict[str, Callable[..., Any]] = {"median": np.median, "mean": np.mean}
_HEADS = ["model", "tiles at", *(f"R@{k}" for k in KS), *(f"{name} rank" for name in STATISTICS)]
_OWN = "of its 8"


def normalised_ranks(ranks: Ranks) -> np.ndarray:
    """Return (rank - 1) / (M - 1) of every query, float64 `[N]`: 0 is the top and 1 the end, in galleries of any size.

    A query without a right reference has 1.
    """
    return np.minimum(ranks.plain / (ranks.num_references - 1), 1.0)


def scores_of(ranks: Ranks, seed: int = 0) -> Scores:
    """Return R@K in percent and the normalised ranks' median and mean, each with its 95 % interval.

    Args:
        ranks: of the queries.
        seed: of the bootstrap.
    """
    scores: Scores = {}
    for k in KS:
        scores |= _share(f"recall_at_{k}", ranks.found & (ranks.plain < k))
    values = normalised_ranks(ranks)
    for name, statistic in STATISTICS.items():
        scores[f"{name}_normalised_rank"] = float(statistic(values))
        scores[f"{name}_normalised_rank_interval"] = list(bootstrap(values, statistic, seed=seed))
    return scores


def chance_scores(positives: np.ndarray, num_references: int) -> Scores:
    """Return the same numbers of a random ranking, without intervals.

    Args:
        positives: number of right references of each query, int `[N]`.
        num_references: size of the gallery.
    """
    beyond = beyond_by_chance(positives, num_references)
    scores: Scores = {f"recall_at_{k}": 100 * (1 - float(beyond[min(k, num_references)])) for k in KS}
    below = 1 - beyond[1:]  # the share of queries with at most 0, 1, ... wrong references before the right one
    # where exactly half lies on either side, the median is between two ranks
    middle = np.searchsorted(below, [0.5 - 1e-9, 0.5 + 1e-9])
    ends = {"median": middle.mean(), "mean": beyond[1:].sum()}
    return scores | {f"{name}_normalised_rank": float(ends[name]) / (num_references - 1) for name in STATISTICS}


def outcome_scores(outcome: Outcome, seed: int = 0) -> dict[str, Scores]:
    """Return the scores among the tiles, and among the tiles under the eight layouts."""
    turned = scores_of(outcome.turned, seed) | _share("own_layout_found", outcome.own)
    return {"tiles": scores_of(outcome.ranks, seed), "layouts": turned}


def chance_of(positives: np.ndarray, num_references: int) -> dict[str, Scores]:
    """Return what `outcome_scores` would be by chance; arguments as of `chance_scores`."""
    turned = chance_scores(positives, len(LAYOUTS) * num_references)
    own = {"own_layout_found": 100 / len(LAYOUTS)}
    return {"tiles": chance_scores(positives, num_references), "layouts": turned | own}


def tables(rows: Sequence[tuple[str, float, dict[str, Scores]]], chance: dict[str, Scores], num_references: int) -> str:
    """Return two tables for a terminal: among the tiles, and among the tiles under the eight layouts.

    Args:
        rows: model, scale of the tiles, and `outcome_scores`.
        chance: stands below.
        num_references: number of tiles.
    """
    many = len(LAYOUTS) * num_references
    titles = {"tiles": f"Among {num_references:,} tiles", "layouts": f"Among {many:,} tiles, under the eight layouts"}
    parts = []
    for part, title in titles.items():
        heads = [*_HEADS, *([_OWN] if "own_layout_found" in chance[part] else [])]
        lines = [[model, f"{100 * scale:.4g} %", *_cells(scores[part])] for model, scale, scores in rows]
        parts.append(f"{title}\n{text_table(heads, [*lines, ['chance', '', *_cells(chance[part])]])}")
    return "\n\n".join(parts)


def _share(name: str, hits: np.ndarray) -> Scores:
    low, high = wilson(int(hits.sum()), len(hits))
    return {name: 100 * float(hits.mean()), f"{name}_interval": [100 * low, 100 * high]}


def _cells(scores: Scores) -> list[str]:
    """Return a cell for each number: `66.7 (48.8-80.8)`, or without an interval."""
    cells = []
    for name in [*(f"recall_at_{k}" for k in KS), *(f"{name}_normalised_rank" for name in STATISTICS),
                 "own_layout_found"]:  # fmt: skip
        if name in scores:
            form = "{:.3f}" if name.endswith("rank") else "{:.1f}"
            ends = scores.get(f"{name}_interval")
            interval = f" ({form.format(ends[0])}-{form.format(ends[1])})" if ends else ""
            cells.append(form.format(scores[name]) + interval)
    return cells
