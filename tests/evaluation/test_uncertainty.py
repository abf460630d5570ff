"""Intervals of few queries, and chance, against their definitions."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import norm

from geodtr_plugin.evaluation.uncertainty import beyond_by_chance, bootstrap, wilson


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (3, 11), (16, 16), (1, 2)])
def test_wilson_is_where_the_share_is_a_quantile_away(hits, count):
    z, share = norm.ppf(0.975), hits / count
    for end, inner in zip(wilson(hits, count), (0, 1)):
        away = abs(share - end) - z * np.sqrt(end * (1 - end) / count)
        assert away == pytest.approx(0, abs=1e-9) or (share == end == inner)


def test_a_bootstrap_repeats_with_its_seed_and_narrows_with_more_queries():
    values = np.random.default_rng(1).random(40)
    low, high = bootstrap(values, resamples=2000)
    assert (low, high) == bootstrap(values, resamples=2000) != bootstrap(values, resamples=2000, seed=1)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.1)
    assert bootstrap(np.tile(values, 16), resamples=500)[0] > low
    assert bootstrap(np.full(7, 0.25), np.median) == (0.25, 0.25)


def test_a_bootstrap_of_many_values_goes_in_blocks(monkeypatch):
    values = np.random.default_rng(2).random(50)
    whole = bootstrap(values, np.median, resamples=999)
    monkeypatch.setattr("geodtr_plugin.evaluation.uncertainty._VALUES_AT_ONCE", 500)
    assert bootstrap(values, np.median, resamples=999) == whole


@pytest.mark.parametrize("positives", [[1], [2], [1, 3, 1], [5], [0, 1]])
def test_chance_is_what_all_orders_of_the_gallery_give(positives):
    size, wanted = 5, np.zeros(6)
    for right in positives:
        orders = permutations(range(size))
        firsts = [next((k for k, item in enumerate(order) if item < right), size) for order in orders]
        wanted += [np.mean([first >= k for first in firsts]) for k in range(size + 1)]
    assert beyond_by_chance(np.array(positives), size) == pytest.approx(wanted / len(positives))
