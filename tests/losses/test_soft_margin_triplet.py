"""The soft-margin triplet loss against its formula written out, against PML's own loss, and in every PML role."""

from __future__ import annotations

import copy
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner, TripletMarginMiner
from pytorch_metric_learning.reducers import ClassWeightedReducer, DoNothingReducer, MeanReducer
from pytorch_metric_learning.regularizers import LpRegularizer
from pytorch_metric_learning.trainers import TwoStreamMetricLoss
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

from geodtr_plugin.losses import SoftMarginTripletLoss, soft_margin_triplet
from geodtr_plugin.losses.cosine import FewKernelsCosine


class ScaledCosine(CosineSimilarity):
    """Cosine similarity times 2 alpha: with it, PML's smooth triplet loss is the weighted one."""

    def compute_mat(self, query_emb, ref_emb):
        return 20.0 * super().compute_mat(query_emb, ref_emb)


def stock(**kwargs):
    return TripletMarginLoss(margin=0, smooth_loss=True, distance=ScaledCosine(), reducer=MeanReducer(), **kwargs)


def pair(n=6, m=None, size=5, dtype=torch.float64):
    query = torch.randn(n, size, dtype=dtype, requires_grad=True)
    reference = torch.randn(m or n, size, dtype=dtype, requires_grad=True)
    return query, reference


def naive_direction(rows, labels, others, other_labels, alpha):
    """Mean of log(1 + exp(alpha (d_pos - d_neg))) over all triplets, one after another."""
    rows, others = F.normalize(rows).tolist(), F.normalize(others).tolist()
    terms = []
    for a, row_label in zip(rows, labels):
        d = [sum((x - y) ** 2 for x, y in zip(a, o)) for o in others]
        positives = [i for i, label in enumerate(other_labels) if label == row_label]
        negatives = [i for i, label in enumerate(other_labels) if label != row_label]
        terms += [log(1 + exp(alpha * (d[p] - d[n]))) for p in positives for n in negatives]
    return sum(terms) / len(terms)


def naive(query, labels, reference, ref_labels, alpha):
    there = naive_direction(query, labels, reference, ref_labels, alpha)
    back = naive_direction(reference, ref_labels, query, labels, alpha)
    return (there + back) / 2


@pytest.mark.parametrize("alpha", [1.0, 10.0])
@pytest.mark.parametrize(
    ("labels", "ref_labels"),
    [
        ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ([3, 7, 9], [9, 3, 7]),
        ([0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 2, 5]),
        ([0, 1], [1, 1, 0, 4, 4, 0, 3]),
        ([2**40, 2**40 + 1, 5], [2**40 + 1, 2**40, 6]),
    ],
)
def test_it_is_the_formula_over_all_triplets(labels, ref_labels, alpha):
    query, reference = pair(len(labels), len(ref_labels))
    loss = SoftMarginTripletLoss(alpha=alpha)(
        query, torch.tensor(labels), ref_emb=reference, ref_labels=torch.tensor(ref_labels)
    )
    assert loss.item() == pytest.approx(naive(query, labels, reference, ref_labels, alpha), rel=1e-9)


def test_one_positive_each_is_the_papers_formula():
    query, reference = pair(7)
    s = F.normalize(query) @ F.normalize(reference).T
    d, own = 2 - 2 * s, (2 - 2 * s).diagonal()
    terms = torch.log1p(torch.exp(10 * (own[:, None] - d))) + torch.log1p(torch.exp(10 * (own[None, :] - d)))
    expected = (terms.sum() - terms.diagonal().sum()) / (2 * 7 * 6)
    labels = torch.arange(7)
    loss = SoftMarginTripletLoss()(query, labels, ref_emb=reference, ref_labels=labels.clone())
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=0)


def test_it_equals_pmls_triplet_loss_both_ways_with_gradients():
    query, reference = pair(8)
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 5, 6])  # two rows of one place
    expected = (
        stock()(query, labels, ref_emb=reference, ref_labels=labels.clone())
        + stock()(reference, labels, ref_emb=query, ref_labels=labels.clone())
    ) / 2
    loss = SoftMarginTripletLoss()(query, labels, ref_emb=reference, ref_labels=labels.clone())
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (query, reference)), torch.autograd.grad(expected, (query, reference))
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_same_tensor_as_labels_and_ref_labels_is_no_trap():
    query, reference = pair()
    labels = torch.arange(6)
    loss = SoftMarginTripletLoss()
    expected = loss(query, labels, ref_emb=reference, ref_labels=labels.clone())
    assert expected > 0
    assert loss(query, labels, ref_emb=reference, ref_labels=labels) == expected
    assert loss(query, labels, ref_emb=reference) == expected
    assert loss(query, ref_emb=reference) == expected


def test_without_references_a_row_is_not_its_own_positive():
    embeddings, _ = pair(6)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    ours = SoftMarginTripletLoss()
    expected = stock()(embeddings, labels)
    torch.testing.assert_close(ours(embeddings, labels), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours(embeddings, labels, ref_emb=embeddings), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "distance", [LpDistance(power=2), LpDistance(p=1), LpDistance(normalize_embeddings=False), CosineSimilarity()]
)
def test_other_distances_have_the_right_sign(distance):
    query, reference = pair()
    labels = torch.arange(6)
    matrix = 2 - 2 * distance(query, reference) if distance.is_inverted else distance(query, reference)
    own, off = matrix.diagonal(), ~torch.eye(6, dtype=torch.bool)
    there, back = F.softplus(10 * (own[:, None] - matrix))[off], F.softplus(10 * (own[None, :] - matrix))[off]
    loss = SoftMarginTripletLoss(distance=distance)(query, labels, ref_emb=reference, ref_labels=labels)
    torch.testing.assert_close(loss, (there.mean() + back.mean()) / 2, rtol=1e-12, atol=0)


def test_the_squared_distance_and_the_cosine_mean_the_same():
    query, reference = pair()
    by_distance = SoftMarginTripletLoss(distance=LpDistance(power=2))(query, ref_emb=reference)
    torch.testing.assert_close(by_distance, SoftMarginTripletLoss()(query, ref_emb=reference), rtol=1e-12, atol=0)


@pytest.mark.parametrize("miner", [TripletMarginMiner(margin=2.0), MultiSimilarityMiner(epsilon=2.0)])
def test_mined_tuples_decide_what_counts(miner):
    query, reference = pair()
    labels = torch.tensor([0, 1, 2, 2, 3, 4])
    mined = miner(query, labels, reference, labels.clone())
    assert len(mined[0]) > 0
    expected = stock()(query, labels, mined, reference, labels.clone())
    loss = SoftMarginTripletLoss()(query, labels, mined, reference, labels.clone())
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_the_form_in_which_stock_two_stream_training_calls_it():
    query, reference = pair()
    labels = torch.arange(6)
    trainer = TwoStreamMetricLoss.__new__(TwoStreamMetricLoss)
    trainer.mining_funcs, trainer.loss_weights = {}, {"metric_loss": 1}
    trainer.loss_funcs = {"metric_loss": SoftMarginTripletLoss()}
    triplets = trainer.maybe_mine_embeddings((query, reference), labels)
    loss = trainer.maybe_get_metric_loss((query, reference), labels, triplets)
    expected = naive_direction(query, labels.tolist(), reference, labels.tolist(), 10.0)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("ratio", "kept"), [(0.5, 15), (0.34, 10), (1e-6, 1)])
def test_hard_ratio_keeps_the_largest_terms_of_each_direction(ratio, kept):
    query, reference = pair()
    s = F.normalize(query) @ F.normalize(reference).T
    off = ~torch.eye(6, dtype=torch.bool)
    there = F.softplus(20 * (s - s.diagonal()[:, None]))[off].sort(descending=True).values[:kept]
    back = F.softplus(20 * (s - s.diagonal()[None, :]))[off].sort(descending=True).values[:kept]
    loss = SoftMarginTripletLoss(hard_ratio=ratio)(query, ref_emb=reference)
    torch.testing.assert_close(loss, (there.mean() + back.mean()) / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 1, 2]])
@pytest.mark.parametrize("hard_ratio", [1.0, 0.5])
def test_gradients(labels, hard_ratio):
    query, reference = pair(4, size=3)
    labels, loss = torch.tensor(labels), SoftMarginTripletLoss(alpha=2.0, hard_ratio=hard_ratio)
    assert torch.autograd.gradcheck(lambda q, r: loss(q, labels, ref_emb=r, ref_labels=labels), (query, reference))


def test_bfloat16_and_autocast_are_computed_in_float32():
    query, reference = (x.detach() for x in pair(16, size=32, dtype=torch.float32))
    loss = SoftMarginTripletLoss()
    expected = loss(query, ref_emb=reference)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(query, ref_emb=reference) == expected
    rounded = loss(query.bfloat16(), ref_emb=reference.bfloat16())
    assert rounded.dtype == torch.float32
    assert rounded == loss(query.bfloat16().float(), ref_emb=reference.bfloat16().float())
    far = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # every pair as wrong as it can be
    assert SoftMarginTripletLoss(alpha=1e3)(far.half(), ref_emb=-far.half()).item() == pytest.approx(4e3)


def test_a_regularizer_does_not_round_the_loss_of_bfloat16_embeddings():
    query, reference = (x.detach().bfloat16() for x in pair(16, size=32, dtype=torch.float32))
    with_it = SoftMarginTripletLoss(embedding_regularizer=LpRegularizer(), embedding_reg_weight=0.0)
    assert with_it(query, ref_emb=reference) == SoftMarginTripletLoss()(query, ref_emb=reference)


@pytest.mark.parametrize("labels", [[0], [3, 3, 3]])
def test_a_batch_without_negatives_gives_zero_and_zero_gradients(labels):
    query, reference = pair(len(labels))
    loss = SoftMarginTripletLoss()(query, torch.tensor(labels), ref_emb=reference, ref_labels=torch.tensor(labels))
    assert loss == 0
    loss.backward()
    assert query.grad.eq(0).all() and reference.grad.eq(0).all()


def test_no_mined_triplet_gives_zero():
    query, reference = pair()
    nothing = (torch.tensor([]),) * 3
    assert SoftMarginTripletLoss()(query, torch.arange(6), nothing, reference, torch.arange(6)) == 0


def test_terms_belong_to_query_rows_in_both_directions():
    query, reference = pair(3, 4)
    labels, ref_labels = torch.tensor([5, 6, 7]), torch.tensor([7, 5, 6, 6])
    terms = SoftMarginTripletLoss(reducer=DoNothingReducer())(query, labels, None, reference, ref_labels)["loss"]
    assert terms["reduction_type"] == "element" and len(terms["losses"]) == len(terms["indices"])
    # query 0 and query 2 have one positive and three negatives, query 1 two and two; back: two negatives each
    assert torch.bincount(terms["indices"]).tolist() == [3 + 2, 4 + 4, 3 + 2]
    only_five = ClassWeightedReducer(weights=torch.tensor([0, 0, 0, 0, 0, 1.0, 0, 0]).double())
    loss = SoftMarginTripletLoss(reducer=only_five)(query, labels, None, reference, ref_labels)
    expected = terms["losses"][terms["indices"] == 0].sum() / len(terms["losses"])
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("distance", [CosineSimilarity(), LpDistance(power=2)])
@pytest.mark.parametrize(
    ("labels", "ref_labels", "listed"),
    [
        ([5, 6, 7, 8], [7, 5, 8, 6], False),  # one positive each way: summed up without listing the terms
        ([5, 6, 7, 8], [7, 5, 5, 6], True),  # a reference twice, and a query without one
        ([5, 5, 7], [5, 7, 8], True),
        ([5, 6], [5, 6, 7], True),
    ],
)
def test_summed_up_and_listed_terms_mean_the_same(labels, ref_labels, listed, distance):
    query, reference = pair(len(labels), len(ref_labels))
    labels, ref_labels = torch.tensor(labels), torch.tensor(ref_labels)
    loss = SoftMarginTripletLoss(distance=distance)
    way = loss.compute_loss(query, labels, None, reference, ref_labels)["loss"]["reduction_type"]
    assert way == ("element" if listed else "already_reduced")
    value = loss(query, labels, ref_emb=reference, ref_labels=ref_labels)
    each = SoftMarginTripletLoss(distance=distance, reducer=DoNothingReducer())
    mean = each(query, labels, ref_emb=reference, ref_labels=ref_labels)["loss"]["losses"].mean()
    torch.testing.assert_close(value, mean, rtol=1e-12, atol=0)
    for ours, theirs in zip(*(torch.autograd.grad(x, (query, reference)) for x in (value, mean))):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-14)


def test_neutral_pairs_can_be_kept_out_by_a_subclass():
    class Neighbours(SoftMarginTripletLoss):
        def masks(self, *args):
            positives, negatives = super().masks(*args)
            negatives = negatives.clone()
            negatives[0, 1] = False
            return positives, negatives

    query, reference = pair()
    listed = lmu.get_all_triplets_indices(torch.arange(6), torch.arange(6))
    kept = ~((listed[0] == 0) & (listed[2] == 1))
    there = SoftMarginTripletLoss()(query, None, tuple(x[kept] for x in listed), reference)
    back_kept = ~((listed[0] == 1) & (listed[2] == 0))
    back = SoftMarginTripletLoss()(reference, None, tuple(x[back_kept] for x in listed), query)
    torch.testing.assert_close(Neighbours()(query, ref_emb=reference), (there + back) / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("exclusion", [None, lambda own, other: (own[:, None] - other[None, :]).abs() == 1])
def test_rows_that_are_known_to_pair_up_are_not_looked_at(exclusion, monkeypatch):
    query, reference = pair()
    labels = torch.tensor([7, 3, 9, 4, 11, 8])
    asking, trusting = (SoftMarginTripletLoss(exclusion=exclusion, paired_rows=known) for known in (False, True))
    expected = asking(query, labels, ref_emb=reference, ref_labels=labels.clone())
    monkeypatch.setattr(soft_margin_triplet, "_one_each", lambda positives: pytest.fail("labels were looked at"))
    assert torch.equal(trusting(query, labels, ref_emb=reference, ref_labels=labels.clone()), expected)
    with pytest.raises(pytest.fail.Exception, match="looked at"):
        asking(query, labels, ref_emb=reference, ref_labels=labels.clone())


def test_a_subclass_with_pairs_of_its_own_is_asked_whatever_was_promised():
    class WithoutTheFirst(SoftMarginTripletLoss):
        def masks(self, *args):
            positives, negatives = super().masks(*args)
            positives = positives.clone()
            positives[0, 0] = False
            return positives, negatives

    query, reference = pair()
    expected = WithoutTheFirst()(query, ref_emb=reference)
    assert torch.equal(WithoutTheFirst(paired_rows=True)(query, ref_emb=reference), expected)


def test_it_can_be_copied_saved_and_recorded():
    loss = copy.deepcopy(SoftMarginTripletLoss(alpha=3.0))
    assert loss.state_dict() == {}
    assert {"alpha", "hard_ratio"} <= set(loss._record_these)


@pytest.mark.parametrize("arguments", [{"alpha": 0.0}, {"hard_ratio": 0.0}, {"hard_ratio": 1.5}])
def test_settings_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SoftMarginTripletLoss(**arguments)


def test_calls_that_do_not_say_what_belongs_together():
    query, reference = pair(4, 5)
    with pytest.raises(ValueError, match="needs labels"):
        SoftMarginTripletLoss()(query)
    with pytest.raises(ValueError, match="4 embeddings and 5 ref_emb"):
        SoftMarginTripletLoss()(query, ref_emb=reference)
    with pytest.raises(ValueError, match="4 embeddings and 5 ref_emb"):
        SoftMarginTripletLoss()(query, torch.arange(4), ref_emb=reference)


@pytest.mark.parametrize("distance", [None, CosineSimilarity(), LpDistance(power=2)])
@pytest.mark.parametrize("exclusion", [None, lambda own, other: (own[:, None] - other[None, :]).abs() == 3])
def test_the_gradient_can_be_taken_twice_and_derived_again(distance, exclusion):
    query, reference = pair(5, size=3)
    labels = torch.tensor([7, 3, 9, 4, 11])
    loss = SoftMarginTripletLoss(2.0, distance=distance, exclusion=exclusion)
    each = SoftMarginTripletLoss(2.0, distance=distance, exclusion=exclusion, reducer=DoNothingReducer())

    def mean(query, reference):
        return loss(query, labels, ref_emb=reference, ref_labels=labels)

    def listed(query, reference):
        return each(query, labels, ref_emb=reference, ref_labels=labels)["loss"]["losses"].mean()

    value = mean(query, reference)
    first, again = (torch.autograd.grad(value, (query, reference), retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, again))
    assert torch.autograd.gradgradcheck(mean, (query, reference))
    gradients = [torch.autograd.grad(func(query, reference), query, create_graph=True)[0] for func in (mean, listed)]
    penalties = [torch.autograd.grad(g.square().sum(), (query, reference)) for g in gradients]
    for ours, theirs in zip(*penalties):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-13)
    with torch.no_grad():
        assert mean(query, reference) == value


def test_unit_rows_are_those_of_pmls_cosine_with_their_gradients():
    rows = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    ours, theirs = (distance.normalize(rows) for distance in (FewKernelsCosine(), CosineSimilarity()))
    assert torch.equal(ours, theirs)
    weights = torch.randn_like(rows)
    for own, other in zip(*(torch.autograd.grad((x * weights).sum(), rows) for x in (ours, theirs))):
        torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-14)
    assert torch.autograd.gradcheck(FewKernelsCosine().normalize, rows)
    assert torch.autograd.gradgradcheck(FewKernelsCosine().normalize, rows)
    nothing = torch.zeros(2, 4, requires_grad=True)
    ours, theirs = (distance.normalize(nothing) for distance in (FewKernelsCosine(), CosineSimilarity()))
    assert torch.equal(*(torch.autograd.grad(x.sum(), nothing)[0] for x in (ours, theirs)))
