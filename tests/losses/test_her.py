"""HER's loss against the authors' computation written out in plain operations, its weights and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import LpDistance

from geodtr_plugin.losses import LOSSES, HERLoss, NearbyPlaces, SoftMarginTripletLoss
from geodtr_plugin.losses.by_name import build_loss
from geodtr_plugin.utils.errors import UserError


def pair(n=6, m=None, size=4, spread=1.0, seed=0):
    """Embeddings near each other, so that triplets are simple, hard and extremely hard."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randn(size, generator=generator, dtype=torch.float64)
    draws = (torch.randn(k, size, generator=generator, dtype=torch.float64) for k in (n, m or n))
    return [(centre + spread * draw).requires_grad_() for draw in draws]


def naive(query, reference, stretch=5.0, through_weights=True):
    """The authors' loss: an exemplar at a time, from query to reference, of vectors as they are."""
    size = len(query)
    margin = stretch**2 * 0.15 * ((query**2).sum(1).mean() + (reference**2).sum(1).mean()).item() / 2
    low, high = (-math.log2(1 / (1 + math.exp(x)) + 1e-8) for x in (-margin + margin / 2, margin / 2))
    total, kinds = 0, []
    for i in range(size):
        distances = ((stretch * query[i] - stretch * reference) ** 2).sum(1)
        for j in range(size):
            if i == j:
                continue
            right = 1 / (1 + torch.exp(distances[i] - distances[j] + margin / 2))
            weight = -torch.log2(right + 1e-8)
            kinds.append("simple" if weight < low else "extreme" if weight > high else "hard")
            if kinds[-1] != "hard":
                weight = 0.1 / size if kinds[-1] == "simple" else high
            elif not through_weights:
                weight = weight.detach()
            total = total + weight * torch.log(1 + torch.exp(distances[i] - distances[j]))
    return total / size**2, kinds


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_authors_loss_with_their_gradient(detach, seed):
    query, reference = pair(8, seed=seed, spread=0.7)
    loss = HERLoss(symmetric=False, detach=detach)(query, ref_emb=reference)
    expected, kinds = naive(F.normalize(query), F.normalize(reference), through_weights=not detach)
    assert set(kinds) == {"simple", "hard", "extreme"}
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    found = torch.autograd.grad(loss, (query, reference))
    torch.testing.assert_close(found, torch.autograd.grad(expected, (query, reference)), rtol=1e-5, atol=1e-8)


def test_vectors_that_are_not_normalised_have_a_margin_of_their_length():
    query, reference = pair(7, spread=0.6)
    loss = HERLoss(alpha=1.0, symmetric=False, distance=LpDistance(power=2, normalize_embeddings=False))
    expected, kinds = naive(query, reference, stretch=1.0)
    assert "hard" in kinds
    assert loss(query, ref_emb=reference).item() == pytest.approx(expected.item(), rel=1e-6)


def test_both_directions_are_averaged():
    query, reference = pair()
    unit = F.normalize(query), F.normalize(reference)
    expected = (naive(*unit)[0] + naive(*unit[::-1])[0]) / 2
    assert HERLoss()(query, ref_emb=reference).item() == pytest.approx(expected.item(), rel=1e-6)


def test_weights_at_the_thresholds():
    loss = HERLoss()
    margin = loss.margin_of(torch.randn(3, 5), torch.randn(4, 5)).item()
    assert margin == pytest.approx(3.75)
    z = torch.tensor([-100.0, -3.76, -3.74, -1.0, 0.0, 2.0, 1e4], dtype=torch.float64)
    found = loss.weights(z, margin, choices=32).tolist()
    assert found[:2] == [0.1 / 32] * 2
    assert found[2] == pytest.approx(0.206, abs=2e-3) and found[4:] == [pytest.approx(2.911, abs=1e-3)] * 3
    assert found[3] == pytest.approx(math.log2(1 + math.exp(-1 + 1.875)))
    assert loss.weights(torch.tensor(-3.75), 3.75, 32).item() == pytest.approx(0.206, abs=1e-3)


@pytest.mark.parametrize("detach", [True, False])
def test_no_gradient_goes_through_pruned_weights(detach):
    z = torch.tensor([-9.0, -2.0, 3.0], requires_grad=True)
    weights = HERLoss(detach=detach).weights(z, 3.75, 4)
    assert weights.requires_grad is not detach
    if not detach:
        slopes = torch.autograd.grad(weights.sum(), z)[0].tolist()
        assert slopes[0] == slopes[2] == 0
        assert slopes[1] == pytest.approx(torch.sigmoid(torch.tensor(-2 + 1.875)).item() / math.log(2))


def test_a_pruned_exemplar_has_the_gradient_of_its_constant_weight():
    query = torch.eye(4, dtype=torch.float64, requires_grad=True)  # all negatives are far: every exemplar is simple
    reference = torch.eye(4, dtype=torch.float64)
    found = torch.autograd.grad(HERLoss(symmetric=False, detach=False)(query, ref_emb=reference), query)[0]
    plain = SoftMarginTripletLoss(alpha=25.0)(query, ref_emb=reference)  # symmetric, as are these vectors
    expected = torch.autograd.grad(plain * (0.1 / 4) * 12 / 16, query)[0]
    torch.testing.assert_close(found / 2 + found.T / 2, expected, rtol=1e-6, atol=1e-15)


def test_several_positives_and_excluded_pairs():
    query, reference = pair(4, 5)
    labels, others = torch.tensor([0, 0, 1, 2]), torch.tensor([1, 0, 0, 7, 2])
    d = 2 - 2 * F.normalize(query) @ F.normalize(reference).T

    def direction(d, rows, columns):
        terms = []
        for i, label in enumerate(rows.tolist()):
            for p in (columns == label).nonzero()[:, 0].tolist():
                z = [25 * (d[i, p] - d[i, n]).item() for n in range(len(columns)) if columns[n] != label]
                w = [math.log2(1 + math.exp(min(x, 0) + 1.875)) if x >= -3.75 else 0.1 / len(columns) for x in z]
                terms.append(sum(a * math.log1p(math.exp(x)) for a, x in zip(w, z)) / len(columns))
        return sum(terms) / len(terms)

    expected = (direction(d, labels, others) + direction(d.T, others, labels)) / 2
    found = HERLoss()(query, labels, ref_emb=reference, ref_labels=others)
    assert found.item() == pytest.approx(expected, rel=1e-6)

    query, reference = pair(4)
    metres = np.array([[0.0, 0], [0, 10], [0, 500], [0, 900]])
    near = NearbyPlaces.from_coordinates(np.arange(4), metres, "metres", 25, samples_per_place=1)
    found = HERLoss(exclusion=near)(query, torch.arange(4), ref_emb=reference).item()
    left_out = [(0, 1), (1, 0)]
    z = 25 * (lambda d: d.diagonal()[:, None] - d)(2 - 2 * F.normalize(query) @ F.normalize(reference).T)
    z_back = 25 * (lambda d: d.diagonal()[:, None] - d)(2 - 2 * F.normalize(reference) @ F.normalize(query).T)
    terms = [
        (math.log2(1 + math.exp(min(x, 0) + 1.875)) if x >= -3.75 else 0.1 / 4) * math.log1p(math.exp(x))
        for values in (z, z_back) for i in range(4) for j in range(4)
        if i != j and (i, j) not in left_out for x in [values[i, j].item()]
    ]  # fmt: skip
    assert found == pytest.approx(sum(terms) / 32, rel=1e-6)


def test_listed_triplets_are_averaged():
    query, reference = pair(3)
    z = 25 * (lambda d: d[0, 0] - d[0, 2])(2 - 2 * F.normalize(query) @ F.normalize(reference).T)
    triplets = tuple(torch.tensor([index, index]) for index in (0, 0, 2))
    found = HERLoss()(query, torch.arange(3), triplets, ref_emb=reference)
    weight = HERLoss().weights(z, 3.75, 3)
    assert found.item() == pytest.approx((weight * F.softplus(z)).item(), rel=1e-6)


def test_the_edges():
    query, reference = pair(3)
    nothing = HERLoss()(query, torch.tensor([0, 1, 2]), ref_emb=reference, ref_labels=torch.tensor([3, 4, 5]))
    assert nothing.item() == 0 and nothing.requires_grad
    theta = [HERLoss(theta=theta)(query, ref_emb=reference).item() for theta in (1.0, 5.0)]
    assert theta[1] == pytest.approx(5 * theta[0])
    far = HERLoss(distance=LpDistance(power=2, normalize_embeddings=False))(1e3 * query, ref_emb=-1e3 * reference)
    assert far.isfinite()
    low = HERLoss()(query.bfloat16(), ref_emb=reference.bfloat16())
    assert low.dtype == torch.float32


@pytest.mark.parametrize("argument", [dict(alpha=0), dict(theta=-1), dict(margin=-0.1), dict(simple=float("nan"))])
def test_what_cannot_be_is_refused(argument):
    with pytest.raises(UserError, match=f"{next(iter(argument))} must be"):
        build_loss("her", argument)


def test_recipes_know_its_name():
    assert "her" in LOSSES and isinstance(build_loss("her", {"detach": False}), HERLoss)
