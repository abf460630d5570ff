"""What few queries can say: intervals of what was measured, and what chance alone would give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CONFIDENCE = 0.95  # of every interval
RESAMPLES = 10_000  # of the bootstrap: its ends then move by a hundredth of the interval from seed to seed
_VALUES_AT_ONCE = 2**22  # of resamples: 32 MiB


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, `hits` of `count`.

    It has a width for no hit and for nothing but hits too, and keeps its promise for few queries (Brown, Cai and
    DasGupta, Statistical Science 2001). Queries are taken for independent.
    """
    from scipy.stats import binomtest

    interval = binomtest(hits, count).proportion_ci(CONFIDENCE, "wilson")
    return float(interval.low), float(interval.high)


def bootstrap(
    values: np.ndarray, statistic: Callable[..., np.ndarray] = np.mean, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic under resampling with replacement.

    Args:
        values: float `[N]`, of independent queries.
        statistic: takes resamples `[R, N]` and `axis=1`, as np.mean and np.median do.
        resamples: how many.
        seed: of the draws; equal seeds give equal intervals.
    """
    draw = np.random.default_rng(seed)
    at_once = max(1, _VALUES_AT_ONCE // len(values))
    parts = [
        statistic(values[draw.integers(len(values), size=(min(at_once, resamples - done), len(values)))], axis=1)
        for done in range(0, resamples, at_once)
    ]
    low, high = np.quantile(np.concatenate(parts), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def beyond_by_chance(positives: np.ndarray, num_references: int) -> np.ndarray:
    """Return the share of queries whose first right reference has at least k wrong ones before it at random.

    Args:
        positives: number of right references of each query, int `[N]`.
        num_references: size M of the gallery.

    Returns:
        Float64 `[M + 1]`, for k of 0 to M. R@K of chance is 1 minus entry K, and the sum from entry 1 on is the mean
        number of wrong references before the first right one. A query without a right reference is beyond every k.
    """
    numbers, queries = np.unique(positives, return_counts=True)
    k = np.arange(num_references)
    beyond = np.ones((len(numbers), num_references + 1))
    # the first k are all wrong: each was drawn from what is left
    steps = np.clip(num_references - numbers[:, None] - k, 0, None) / (num_references - k)
    beyond[:, 1:] = np.cumprod(steps, axis=1)
    return queries @ beyond / queries.sum()
