"""Ranks over groups of references (the views of a panorama) against the plain procedure: sort, suppress, look."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.datasets.base import Split
from geodtr_plugin.datasets.images import ImageArray
from geodtr_plugin.evaluation import Truth, rank_queries, recall


def suppressed_rank(similarities: np.ndarray, positives: set[int], groups: list[int], ties: str) -> tuple[bool, int]:
    """(found, place) of the first right reference among the first ones of every group; right ones do not compete."""
    # of equals, the wrong ones stand first or last
    order = sorted(range(len(groups)), key=lambda i: (-similarities[i], (i in positives) == (ties == "pessimistic")))
    seen: set[int] = set()
    for i in order:
        if groups[i] not in seen:
            if i in positives:
                return True, len(seen)
            seen.add(groups[i])
    return False, len(set(groups))


@st.composite
def grouped(draw):
    """Integer similarities with many ties, any truth, groups of any size, right and wrong references mixed in them."""
    count = draw(st.integers(1, 12))
    groups = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    rows = draw(st.integers(1, 4))
    levels = draw(st.lists(st.lists(st.integers(0, 4), min_size=count, max_size=count), min_size=rows, max_size=rows))
    positives = [draw(st.sets(st.integers(0, count - 1), max_size=4)) for _ in range(rows)]
    return levels, positives, groups


@settings(deadline=None, max_examples=200)
@given(grouped(), st.sampled_from(["pessimistic", "optimistic"]), st.sampled_from([1, 400, None]))
def test_ranks_are_those_of_the_plain_procedure(retrieval, ties, buffer_bytes):
    levels, positives, groups = retrieval
    # one reference an axis: the similarity of query and reference i grows with the query's entry i alone
    query = torch.tensor(levels, dtype=torch.float64) + 1
    reference = torch.eye(len(groups), dtype=torch.float64)
    truth = Truth(Truth.from_lists(map(sorted, positives)).positives, groups=np.array(groups))
    ranks = rank_queries(query, reference, truth, ties=ties, buffer_bytes=buffer_bytes)
    expected = [suppressed_rank(np.array(row), right, groups, ties) for row, right in zip(levels, positives)]
    assert list(zip(ranks.found.tolist(), ranks.plain.tolist())) == expected
    assert ranks.num_references == len(set(groups)) and (ranks.without_ignored == ranks.plain).all()


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
def test_groups_of_one_change_nothing(ties):
    query, reference = torch.randn(40, 6), torch.randn(300, 6)
    lists = [sorted(set(row)) for row in np.random.default_rng(0).integers(0, 300, (40, 3)).tolist()]
    truth = Truth.from_lists(lists)
    alone = Truth(truth.positives, groups=np.arange(300)[::-1].copy())
    for buffer_bytes in (5000, None):
        ranks = [rank_queries(query, reference, t, ties=ties, buffer_bytes=buffer_bytes) for t in (truth, alone)]
        assert ranks[0].plain.tolist() == ranks[1].plain.tolist() and ranks[1].num_references == 300


def test_a_collapsed_model_does_not_score_well():
    groups, truth = np.repeat(np.arange(20), 12), [list(range(12 * i, 12 * i + 12)) for i in range(20)]
    ranks = rank_queries(torch.ones(20, 4), torch.ones(240, 4), Truth(Truth.from_lists(truth).positives, groups=groups))
    assert ranks.plain.tolist() == [19] * 20


def test_the_first_percent_is_of_the_groups():
    groups = np.repeat(np.arange(300), 2)
    truth = Truth(Truth.from_lists([[2 * i, 2 * i + 1] for i in range(300)]).positives, groups=groups)
    scores = recall(torch.randn(300, 4), torch.randn(600, 4), truth, ks=(1, 20), interval=False)
    assert (scores["num_references"], scores["k_at_1_percent"]) == (300, 3) and "recall_at_20" in scores


def test_parts_of_a_truth_keep_their_groups():
    truth = Truth(Truth.from_lists([[0, 1], [2], [3]]).positives, groups=[7, 7, 8, 9])
    assert truth.take([2, 0]).groups.tolist() == [7, 7, 8, 9]
    kept = truth.keep_references([3, 1], 4)
    assert kept.groups.tolist() == [9, 7] and kept.positives[0].tolist() == [1]


def test_groups_that_do_not_fit_are_refused():
    positives = Truth.from_lists([[0], [1]]).positives
    with pytest.raises(ValueError, match=r"groups must be \[4\]"):
        Truth(positives, groups=[0, 0, 1]).check(4)
    with pytest.raises(ValueError, match="not both"):
        Truth(positives, positives, groups=[0, 1])


def test_an_index_knows_its_groups_and_its_ks():
    images = ImageArray(np.zeros((4, 2, 2, 3), np.uint8))

    def index(groups, **more):
        truth = Truth(Truth.diagonal(4).positives, groups=groups)
        rows = np.arange(4)
        return Split("x", "test", images, images, np.stack([rows, rows], 1), rows, rows, truth, **more)

    prints = {index(groups).fingerprint() for groups in (None, [0, 0, 1, 1], [0, 1, 1, 0])}
    assert len(prints) == 3
    assert index(None).ks == (1, 5, 10) and index(None, ks=(1, 20)).limit(2).ks == (1, 20)
    assert index([5, 5, 6, 6]).limit(3).truth.groups.tolist() == [5, 5, 6]
    with pytest.raises(ValueError, match="groups"):
        index([0, 1])
