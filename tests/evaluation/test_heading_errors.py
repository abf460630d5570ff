"""Headings told by right references: the circle, several right references, none at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from geodtr_plugin.distances import MaxOverHeadings
from geodtr_plugin.evaluation import Headings, Truth, find_headings, rank_queries
from geodtr_plugin.evaluation import headings as module

H, D = 6, 4
DRAW = torch.Generator().manual_seed(0)
QUERY, REFERENCE = torch.randn(9, H * D, generator=DRAW), torch.randn(11, D, generator=DRAW)
TRUTH = Truth.from_lists([[0], [1, 5, 10], [], [3], [4, 2], [5], [0, 1, 2, 3], [7], [9, 8]], [[5], [], [1]] + [[]] * 6)
COSINES = torch.einsum("nhd,md->nmh", normalize(QUERY.view(9, H, D).double(), dim=2), normalize(REFERENCE.double()))


def test_the_heading_is_that_of_the_best_right_reference(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 4)
    found = find_headings(QUERY, REFERENCE, TRUTH, MaxOverHeadings(H))
    for row, right in enumerate(map(TRUTH.positives.__getitem__, range(9))):
        if not len(right):
            assert np.isnan(found[row])
            continue
        best = right[int(COSINES[row, right].amax(1).argmax())]
        assert found[row] == int(COSINES[row, best].argmax()) * 60
    assert np.isnan(find_headings(QUERY[:1], REFERENCE, Truth.from_lists([[]]), MaxOverHeadings(H))).all()


def test_errors_go_the_shorter_way_round():
    headings = Headings(np.array([350.0, 0, 90, 181, np.nan]), np.array([10.0, 359, 270, 1, 5]))
    assert headings.errors.tolist()[:4] == [20, 1, 180, 180] and np.isnan(headings.errors[4])
    assert headings.take(np.array([1])).errors.tolist() == [1]


def test_shares_of_all_and_of_hits():
    similarity = torch.eye(5)
    similarity[3, 0] = 2  # query 3 finds reference 0
    truth = Truth.from_lists([[0], [1], [2], [3], []])
    ranks = rank_queries(similarity, torch.eye(5), truth)
    told = Headings(np.array([4.0, 355, 350, 90, np.nan]), np.zeros(5)).summarise(ranks)
    assert told == {
        "heading_median_error": 7.5, "heading_within_5": 50, "heading_within_10": 75,
        "heading_within_5_of_hits": 66.6667, "heading_within_10_of_hits": 100,
    }  # fmt: skip
    wrong = Headings(np.array([90.0]), np.zeros(1)).summarise(ranks.take(np.array([3])))
    assert wrong == {"heading_median_error": 90, "heading_within_5": 0, "heading_within_10": 0}
    assert Headings(np.array([np.nan]), np.zeros(1)).summarise(ranks.take(np.array([4]))) == {}


@pytest.mark.parametrize("turned", ["query", "reference"])
@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
@pytest.mark.parametrize("buffer_bytes", [None, 200])
def test_ranks_are_those_of_a_loop(turned, ties, buffer_bytes):
    """With ignored references, queries without a right one, and exact ties: reference 6 is a copy of reference 5."""
    references = REFERENCE.clone()
    references[6] = 3 * references[5]
    copies = normalize(QUERY.view(9, H, D).double(), dim=2)
    similarity = torch.einsum("nhd,md->nmh", copies, normalize(references.double())).amax(2)
    query, gallery, truth = QUERY, references, TRUTH
    if turned == "reference":  # the roles are exchanged: 9 places of the gallery with copies, 11 queries
        query, gallery, similarity = references, QUERY, similarity.T
        truth = Truth.from_lists([[i % 9] for i in range(11)], [[(i + 1) % 9] for i in range(11)])
    rules = dict(ties=ties, buffer_bytes=buffer_bytes, distance=MaxOverHeadings(H))
    ranks = rank_queries(query, gallery, truth, **rules)
    for row in range(len(query)):
        right, ignored = truth.positives[row], truth.ignored[row]
        if not len(right):
            assert ranks.plain[row] == len(gallery) and not ranks.found[row]
            continue
        best = similarity[row, right].max()
        beats = similarity[row] >= best - 1e-12 if ties == "pessimistic" else similarity[row] >= best + 1e-12
        beats[right] = False
        assert ranks.plain[row] == int(beats.sum())
        beats[ignored] = False
        assert ranks.without_ignored[row] == int(beats.sum())
        assert ranks.similarity[row] == pytest.approx(float(best), abs=1e-12)


def test_one_heading_ranks_as_the_cosine():
    query, reference = torch.randn(300, 8, generator=DRAW), torch.randn(300, 8, generator=DRAW)
    one = rank_queries(query, reference, distance=MaxOverHeadings(1))
    plain = rank_queries(query, reference)
    assert (one.plain == plain.plain).all() and (one.similarity == plain.similarity).all()


def test_collapsed_embeddings_never_score():
    ranks = rank_queries(torch.ones(20, H * D), torch.ones(20, D), distance=MaxOverHeadings(H))
    assert (ranks.plain == 19).all()
