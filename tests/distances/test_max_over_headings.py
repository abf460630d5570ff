"""The best of several turned copies, against a loop over pairs and headings."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from geodtr_plugin.distances import MaxOverHeadings

H, D = 8, 5
DRAW = torch.Generator().manual_seed(0)
COPIES, SINGLE = torch.randn(6, H * D, generator=DRAW), torch.randn(9, D, generator=DRAW)


def naive(copies: torch.Tensor, single: torch.Tensor) -> torch.Tensor:
    """Cosines `[n, m, H]`, one by one."""
    return torch.stack([
        torch.stack([
            torch.stack([cosine_similarity(copy, other, dim=0) for copy in one.view(H, D)]) for other in single
        ])
        for one in copies
    ])  # fmt: skip


def test_similarity_and_heading_are_those_of_the_best_copy():
    distance, cosines = MaxOverHeadings(H), naive(COPIES, SINGLE)
    torch.testing.assert_close(distance.similarities(COPIES, SINGLE), cosines.amax(2))
    pairs = cosines[range(6), range(6)]
    torch.testing.assert_close(distance.pair_similarities(COPIES, SINGLE[:6]), pairs.amax(1))
    assert (distance.headings(COPIES, SINGLE[:6]) % 360 == pairs.argmax(1) * 45).all()
    assert distance.headings(COPIES, SINGLE[:6]).min() >= -180 and distance.headings(COPIES, SINGLE[:6]).max() < 180


def test_references_may_be_what_is_turned():
    distance = MaxOverHeadings(H)
    torch.testing.assert_close(distance.similarities(SINGLE, COPIES), distance.similarities(COPIES, SINGLE).T)
    assert torch.equal(distance.headings(SINGLE[:6], COPIES), distance.headings(COPIES, SINGLE[:6]))


def test_it_is_a_distance_of_pml_with_a_gradient():
    distance, copies = MaxOverHeadings(H), COPIES.clone().requires_grad_()
    distances = distance(copies, SINGLE)
    torch.testing.assert_close(distances, 2 - 2 * naive(COPIES, SINGLE).amax(2))
    torch.testing.assert_close(distance.pairwise_distance(copies, SINGLE[:6]), distances.diagonal()[:6])
    distances.sum().backward()
    assert copies.grad.abs().sum() > 0


def test_one_heading_is_the_cosine_of_any_norm():
    one = MaxOverHeadings(1).similarities(3 * SINGLE, 0.1 * SINGLE)
    torch.testing.assert_close(one, cosine_similarity(SINGLE[:, None], SINGLE[None], dim=2))
    assert MaxOverHeadings(1).similarities(SINGLE.double(), SINGLE.double()).dtype == torch.float64


def test_of_equal_headings_the_first_counts():
    assert MaxOverHeadings(H).headings(torch.ones(1, H * D), torch.ones(1, D)).tolist() == [0]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="none is 8 of the other"):
        MaxOverHeadings(H).similarities(SINGLE, SINGLE)
    with pytest.raises(ValueError, match="not 0"):
        MaxOverHeadings(0)
