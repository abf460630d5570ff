"""Metrics as functions of ranks, and of embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geodtr_plugin.evaluation import Ranks, Truth, recall, summarise
from geodtr_plugin.evaluation.metrics import one_percent


def ranks_of(plain, without=None, found=None, num_references=1000):
    plain = np.asarray(plain)
    return Ranks(
        plain,
        plain if without is None else np.asarray(without),
        np.ones(len(plain), bool) if found is None else np.asarray(found),
        np.zeros(len(plain)),
        num_references,
    )


def test_every_metric_of_known_ranks():
    values = summarise(ranks_of([0, 0, 4, 5, 9, 10, 99, 999], without=[0, 0, 0, 5, 0, 9, 99, 0]), interval=False)
    assert values == {
        "recall_at_1": 2 / 8,
        "recall_at_5": 3 / 8,
        "recall_at_10": 5 / 8,
        "recall_at_1_percent": 5 / 8,
        "hit_rate": 5 / 8,
        "median_rank": 8.0,
        "mean_reciprocal_rank": pytest.approx((1 + 1 + 1 / 5 + 1 / 6 + 1 / 10 + 1 / 11 + 1 / 100 + 1 / 1000) / 8),
        "num_queries": 8,
        "num_references": 1000,
        "k_at_1_percent": 10,
    }


def test_a_query_without_a_right_reference_is_a_miss_even_in_a_gallery_smaller_than_k():
    truth = Truth.from_lists([[0], []])
    values = recall(torch.eye(2), torch.eye(2), truth)
    assert values["recall_at_1"] == values["recall_at_5"] == values["recall_at_1_percent"] == values["hit_rate"] == 0.5
    assert values["mean_reciprocal_rank"] == 0.5 and values["median_rank"] == 2.0


@pytest.mark.parametrize(
    ("n", "floor", "plus_one"), [(1, 1, 1), (99, 1, 1), (100, 1, 2), (199, 1, 2), (8884, 88, 89), (92802, 928, 929)]
)
def test_one_percent(n, floor, plus_one):
    assert one_percent(n, "floor") == floor
    assert one_percent(n, "floor_plus_one") == plus_one


def test_the_percent_rule_decides_the_query_at_its_edge():
    ranks = ranks_of([10] * 4)
    assert summarise(ranks, percent_rounding="floor")["recall_at_1_percent"] == 0
    assert summarise(ranks, percent_rounding="floor_plus_one")["recall_at_1_percent"] == 1


def test_semi_positives_compete_for_recall_and_not_for_the_hit_rate():
    query = torch.tensor([[1.0, 0.0]])
    reference = torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.0, 1.0]])
    values = recall(query, reference, Truth.from_lists([[1]], [[0]]))
    assert values["recall_at_1"] == 0 and values["hit_rate"] == 1
    values = recall(query, reference, Truth.from_lists([[1]]))
    assert values["recall_at_1"] == values["hit_rate"] == 0


def test_the_interval_covers_the_binomial_spread():
    ranks = ranks_of([0] * 300 + [3] * 700)
    values = summarise(ranks)
    half = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert values["recall_at_1_low"] == pytest.approx(0.3 - half, abs=0.003)
    assert values["recall_at_1_high"] == pytest.approx(0.3 + half, abs=0.003)
    assert "recall_at_1_low" not in summarise(ranks, interval=False)


@pytest.mark.parametrize(
    "ranks, low, high",
    [([5] * 3, 0, 0.5615), ([0] * 3, 0.4385, 1), ([0, 7, 7, 7], 0.0456, 0.6994), ([0], 0.2065, 1)],  # z = 1.96
)
def test_the_interval_of_few_queries_has_a_width(ranks, low, high):
    values = summarise(ranks_of(ranks))
    assert (values["recall_at_1_low"], values["recall_at_1_high"]) == (
        pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4),
    )  # fmt: skip


def test_other_ks():
    values = summarise(ranks_of([0, 1, 2, 3]), ks=(2, 3))
    assert values["recall_at_2"] == 0.5 and values["recall_at_3"] == 0.75 and "recall_at_1" not in values


@pytest.mark.parametrize(
    ("arguments", "message"), [({"ks": (0,)}, "ks"), ({"ks": (1.5,)}, "ks"), ({"percent_rounding": "up"}, "percent")]
)
def test_rules_that_do_not_exist(arguments, message):
    with pytest.raises(ValueError, match=message):
        summarise(ranks_of([0]), **arguments)


def test_recall_defaults_to_the_diagonal_and_takes_arrays():
    query = torch.randn(50, 16)
    reference = query + 0.5 * torch.randn(50, 16)
    by_labels = recall(query, reference, Truth.from_labels(torch.arange(50), torch.arange(50)))
    assert recall(query.numpy(), reference.numpy()) == by_labels
    assert 0.5 < by_labels["recall_at_1"] <= by_labels["recall_at_5"] <= by_labels["recall_at_10"] <= 1
    assert recall(query, query)["recall_at_1"] == 1


def test_a_collapsed_model():
    same = torch.ones(40, 6)
    assert recall(same, same)["recall_at_1"] == recall(same, same)["recall_at_10"] == 0
    assert recall(same, same, ties="optimistic")["recall_at_1"] == 1  # what the authors' scripts report
    assert recall(torch.zeros(40, 6), same)["recall_at_1"] == 0
