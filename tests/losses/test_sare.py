"""SARE against its table of formulas, and against the losses that it equals."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.losses import NTXentLoss
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

from geodtr_plugin.losses import SARELoss, SoftMarginTripletLoss


def pair(n=6, size=5):
    return tuple(torch.randn(n, size, dtype=torch.float64, requires_grad=True) for _ in range(2))


KERNELS = {
    "gaussian": lambda d: math.exp(-d),
    "exponential": lambda d: math.exp(-math.sqrt(d)),
    "cauchy": lambda d: 1 / (1 + d),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("form", ["joint", "ind"])
def test_it_is_the_formula(form, kernel):
    query, reference = pair()
    d = torch.cdist(F.normalize(query), F.normalize(reference)).square().tolist()
    k = [[KERNELS[kernel](value) for value in row] for row in d]
    ratios = [[k[q][n] / k[q][q] for n in range(6) if n != q] for q in range(6)]
    joint = [math.log(1 + sum(row)) for row in ratios]
    ind = [math.log(1 + ratio) for row in ratios for ratio in row]
    terms = joint if form == "joint" else ind
    loss = SARELoss(form, kernel)(query, ref_emb=reference)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-9)


def test_joint_is_infonce_at_temperature_one_half():
    query, reference = pair()
    logits = F.normalize(query) @ F.normalize(reference).T / 0.5
    loss = SARELoss("joint")(query, ref_emb=reference)
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.arange(6)))
    labels = torch.arange(6)
    stock = NTXentLoss(temperature=0.5)(query, labels, ref_emb=reference, ref_labels=labels.clone())
    torch.testing.assert_close(loss, stock)


def test_ind_is_the_soft_margin_triplet_loss_of_slope_one_in_one_direction():
    query, reference = pair()
    labels = torch.arange(6)
    one_way = lmu.get_all_triplets_indices(labels, labels.clone())  # listed triplets count in one direction
    expected = SoftMarginTripletLoss(alpha=1.0)(query, labels, one_way, ref_emb=reference, ref_labels=labels.clone())
    loss = SARELoss("ind")(query, labels, ref_emb=reference, ref_labels=labels.clone())
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (query, reference)), torch.autograd.grad(expected, (query, reference))
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("form", ["joint", "ind"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_gradients_are_right_and_finite_where_query_and_reference_agree(form, kernel):
    loss, (query, reference) = SARELoss(form, kernel), pair(4)
    assert torch.autograd.gradcheck(lambda q, r: loss(q, ref_emb=r), (query, reference))
    same = query.detach().float().requires_grad_()
    loss(same, ref_emb=same.detach().clone()).backward()
    assert same.grad.isfinite().all()


def test_unknown_forms_and_kernels_are_refused():
    with pytest.raises(ValueError, match="joint, ind"):
        SARELoss("both")
    with pytest.raises(ValueError, match="gaussian, exponential, cauchy"):
        SARELoss(kernel="cosine")
