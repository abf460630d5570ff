"""NetVLAD's hinge, and what all losses over tuples share, against loops and PML's triplet loss."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import SumReducer
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

from geodtr_plugin.losses import SARELoss, TupleHingeLoss

LOSSES = [TupleHingeLoss(), SARELoss("joint"), SARELoss("ind")]


def pair(n=6, m=None, size=5, dtype=torch.float64):
    query = torch.randn(n, size, dtype=dtype, requires_grad=True)
    reference = torch.randn(m or n, size, dtype=dtype, requires_grad=True)
    return query, reference


def squared(query, reference):
    return torch.cdist(F.normalize(query), F.normalize(reference)).square()


def test_it_is_the_sum_over_negatives_divided_by_the_violations():
    query, reference = pair()
    d = squared(query, reference).tolist()
    terms = [max(0.0, 0.1 + d[q][q] - d[q][n]) for q in range(6) for n in range(6) if n != q]
    violations = sum(term > 0 for term in terms)
    assert 0 < violations < len(terms)
    assert TupleHingeLoss()(query, ref_emb=reference).item() == pytest.approx(sum(terms) / violations, rel=1e-9)
    assert TupleHingeLoss(reducer=SumReducer())(query, ref_emb=reference).item() == pytest.approx(sum(terms), rel=1e-9)


def test_it_equals_pmls_triplet_loss_on_squared_distances_with_gradients():
    query, reference = pair(8)
    labels, ref_labels = torch.tensor([0, 1, 2, 3, 4, 5, 5, 6]), torch.tensor([0, 1, 2, 3, 3, 5, 5, 9])
    stock = TripletMarginLoss(margin=0.1, distance=LpDistance(power=2))(
        query, labels, ref_emb=reference, ref_labels=ref_labels
    )
    loss = TupleHingeLoss()(query, labels, ref_emb=reference, ref_labels=ref_labels)
    torch.testing.assert_close(loss, stock, rtol=1e-9, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (query, reference)), torch.autograd.grad(stock, (query, reference))
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_a_distance_of_squares_gives_the_same_as_similarities():
    query, reference = pair()
    expected = TupleHingeLoss()(query, ref_emb=reference)
    torch.testing.assert_close(TupleHingeLoss(distance=LpDistance(power=2))(query, ref_emb=reference), expected)


def test_listed_tuples_are_the_only_ones():
    query, reference = pair(3, 9)
    triplets = (torch.tensor([0, 0, 2, 2, 2]), torch.tensor([1, 1, 7, 7, 8]), torch.tensor([4, 5, 0, 3, 3]))
    d = squared(query, reference)
    expected = sum(torch.relu(0.5 + d[q, p] - d[q, n]) for q, p, n in zip(*(t.tolist() for t in triplets)))
    loss = TupleHingeLoss(margin=0.5, reducer=SumReducer())(query, indices_tuple=triplets, ref_emb=reference)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_listing_all_triplets_changes_nothing(loss):
    query, reference = pair(6, 7)
    labels, ref_labels = torch.tensor([0, 0, 1, 2, 3, 4]), torch.tensor([0, 1, 1, 2, 5, 3, 0])
    listed = lmu.get_all_triplets_indices(labels, ref_labels)
    expected = loss(query, labels, ref_emb=reference, ref_labels=ref_labels)
    torch.testing.assert_close(
        loss(query, labels, listed, ref_emb=reference, ref_labels=ref_labels), expected, rtol=1e-9, atol=0
    )
    mined = TripletMarginMiner(margin=0.2, type_of_triplets="hard")(query, labels, reference, ref_labels)
    assert loss(query, labels, mined, ref_emb=reference, ref_labels=ref_labels).item() != pytest.approx(expected.item())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_direction_is_from_query_to_reference(loss):
    query, reference = pair()
    assert loss(query, ref_emb=reference).item() != pytest.approx(loss(reference, ref_emb=query).item(), rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_labels_and_single_sets_are_no_traps(loss):
    query, reference = pair()
    labels = torch.arange(6)
    expected = loss(query, labels, ref_emb=reference, ref_labels=labels.clone())
    assert expected > 0
    assert loss(query, labels, ref_emb=reference, ref_labels=labels) == expected
    assert loss(query, ref_emb=reference) == expected
    both, twice = torch.cat([query, reference]), labels.repeat(2)
    single = loss(both, twice)
    assert single > 0 and loss(both, twice, ref_emb=both) == single
    with pytest.raises(ValueError, match="no pairs row by row"):
        loss(query, ref_emb=reference[:4])


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_to_learn_is_zero_with_a_gradient(loss):
    query, reference = pair(3)
    value = loss(query, torch.zeros(3), ref_emb=reference, ref_labels=torch.zeros(3))
    value.backward()
    assert value == 0 and query.grad.abs().sum() == 0 and reference.grad.abs().sum() == 0


@pytest.mark.parametrize("kind", [partial(TupleHingeLoss, margin=2), SARELoss])
def test_excluded_pairs_are_no_negatives(kind):
    query, reference = pair(4)
    labels = torch.arange(4)
    far = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).bool()
    expected = kind()(query, indices_tuple=_without(far), ref_emb=reference)
    torch.testing.assert_close(kind(exclusion=lambda *_: far)(query, labels, ref_emb=reference), expected)
    assert expected != kind()(query, ref_emb=reference)


def _without(excluded):
    triplets = [(q, q, n) for q in range(4) for n in range(4) if n != q and not excluded[q, n]]
    return tuple(torch.tensor(column) for column in zip(*triplets))


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_computed_in_full(loss):
    query, reference = (x.detach().bfloat16() for x in pair())
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(query, ref_emb=reference)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(query.float(), ref_emb=reference.float()))


def test_a_margin_below_zero_is_refused():
    with pytest.raises(ValueError, match="margin must be 0 or more"):
        TupleHingeLoss(margin=-0.1)
