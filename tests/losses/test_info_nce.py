"""InfoNCE against torch's cross-entropy, against a loop in plain Python, and against PML's own losses."""

from __future__ import annotations

import copy
from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from pytorch_metric_learning.reducers import DoNothingReducer, MeanReducer
from torch.utils._python_dispatch import TorchDispatchMode

from geodtr_plugin.losses import InfoNCELoss, NearbyPlaces


def pair(n=6, m=None, size=5, dtype=torch.float64):
    query = torch.randn(n, size, dtype=dtype, requires_grad=True)
    reference = torch.randn(m or n, size, dtype=dtype, requires_grad=True)
    return query, reference


def fixed(temperature=0.2, label_smoothing=0.0, **kwargs):
    """A loss in float64 whose temperature is exact."""
    return InfoNCELoss(temperature, False, label_smoothing, **kwargs).double()


def naive_direction(rows, labels, others, other_labels, temperature, smoothing, excluded=()):
    """Cross-entropy of every positive pair, one after another. `excluded`: (row, other) that are no choice."""
    rows, others = F.normalize(rows).tolist(), F.normalize(others).tolist()
    terms = []
    for i, label in enumerate(labels):
        s = [sum(x * y for x, y in zip(rows[i], other)) / temperature for other in others]
        wrong = [j for j, other in enumerate(other_labels) if other != label and (i, j) not in excluded]
        for p in (j for j, other in enumerate(other_labels) if other == label):
            choices = [p, *wrong]
            total = log(sum(exp(s[j]) for j in choices))
            target = (1 - smoothing) * s[p] + smoothing * sum(s[j] for j in choices) / len(choices)
            terms.append(total - target)
    return sum(terms) / len(terms)


def naive(query, labels, reference, ref_labels, temperature, smoothing, excluded=()):
    there = naive_direction(query, labels, reference, ref_labels, temperature, smoothing, excluded)
    turned = [(j, i) for i, j in excluded]
    return (there + naive_direction(reference, ref_labels, query, labels, temperature, smoothing, turned)) / 2


@pytest.mark.parametrize("temperature, smoothing", [(1.0, 0.0), (0.2, 0.1), (0.07, 0.3)])
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
def test_it_is_the_cross_entropy_of_every_positive_pair(labels, ref_labels, temperature, smoothing):
    query, reference = pair(len(labels), len(ref_labels))
    loss = fixed(temperature, smoothing)(
        query, torch.tensor(labels), ref_emb=reference, ref_labels=torch.tensor(ref_labels)
    )
    expected = naive(query, labels, reference, ref_labels, temperature, smoothing)
    assert loss.item() == pytest.approx(expected, rel=1e-6)  # a temperature is kept as a float32 logarithm


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype, rtol", [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_one_positive_each_is_torchs_cross_entropy_both_ways(smoothing, dtype, rtol):
    query, reference = pair(128, size=16, dtype=dtype)
    loss_func = InfoNCELoss(label_smoothing=smoothing).to(dtype)
    scale = loss_func.logit_scale
    logits, targets = scale.exp() * F.normalize(query) @ F.normalize(reference).T, torch.arange(128)
    expected = sum(F.cross_entropy(x, targets, label_smoothing=smoothing) for x in (logits, logits.T)) / 2
    loss = loss_func(query, targets, ref_emb=reference, ref_labels=targets)
    torch.testing.assert_close(loss, expected, rtol=rtol, atol=0)
    inputs = (query, reference, scale)
    for ours, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs)):
        torch.testing.assert_close(ours, theirs, rtol=100 * rtol, atol=0.1 * rtol)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 2, 2]])
@pytest.mark.parametrize("distance", [CosineSimilarity(), LpDistance(power=2)])
def test_it_equals_pmls_ntxent_both_ways(labels, distance):
    query, reference = pair()
    labels = torch.tensor(labels)
    loss = fixed(distance=distance)
    scale = loss.logit_scale.exp().item() / (1 if distance.is_inverted else 2)
    stock = NTXentLoss(1 / scale, distance=distance, reducer=MeanReducer())
    there = stock(query, labels, ref_emb=reference, ref_labels=labels.clone())
    back = stock(reference, labels, ref_emb=query, ref_labels=labels.clone())
    ours = loss(query, labels, ref_emb=reference, ref_labels=labels.clone())
    torch.testing.assert_close(ours, (there + back) / 2, rtol=1e-6, atol=0)  # PML adds a hair to its logarithm


def test_it_equals_pmls_supcon_where_rows_have_one_positive():
    query, reference = pair()
    labels = torch.tensor([4, 0, 1, 2, 3, 9])
    loss = fixed()
    stock = SupConLoss(1 / loss.logit_scale.exp().item(), reducer=MeanReducer())
    there = stock(query, labels, ref_emb=reference, ref_labels=labels.clone())
    back = stock(reference, labels, ref_emb=query, ref_labels=labels.clone())
    ours = loss(query, labels, ref_emb=reference, ref_labels=labels.clone())
    torch.testing.assert_close(ours, (there + back) / 2, rtol=1e-6, atol=0)


def test_a_single_set_is_read_once():
    embeddings, _ = pair()
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    stock = NTXentLoss(1 / fixed().logit_scale.exp().item())
    torch.testing.assert_close(fixed()(embeddings, labels), stock(embeddings, labels), rtol=1e-6, atol=0)
    assert fixed()(embeddings, labels, ref_emb=embeddings) == fixed()(embeddings, labels)


def test_mined_pairs_decide_what_counts():
    query, reference = pair()
    labels = torch.tensor([0, 1, 2, 2, 3, 4])
    mined = MultiSimilarityMiner(epsilon=0.1)(query, labels, reference, labels.clone())
    assert 0 < len(mined[0]) and 0 < len(mined[2]) < 28
    stock = NTXentLoss(1 / fixed().logit_scale.exp().item())
    expected = stock(query, labels, mined, reference, labels.clone())
    torch.testing.assert_close(fixed()(query, labels, mined, reference, labels.clone()), expected, rtol=1e-6, atol=0)
    triplets = torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor([3, 5])  # the positive stands twice
    s = (F.normalize(query) @ F.normalize(reference).T)[0] * fixed().logit_scale.exp()
    expected = F.cross_entropy(s[[0, 3, 5]][None], torch.tensor([0]))
    torch.testing.assert_close(fixed()(query, labels, triplets, reference, labels), expected, rtol=1e-12, atol=0)


def test_excluded_pairs_are_no_choice():
    query, reference = pair(4)
    places = NearbyPlaces([0, 1, 2, 3], [[0.0, 0], [0, 9], [0, 100], [0, 200]], radius=25, samples_per_place=1)
    labels = torch.arange(4)
    loss = fixed(0.2, 0.1, exclusion=places)(query, labels, ref_emb=reference, ref_labels=labels)
    plain = [0, 1, 2, 3]
    expected = naive(query, plain, reference, plain, 0.2, 0.1, excluded=[(0, 1), (1, 0)])
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(naive(query, plain, reference, plain, 0.2, 0.1), rel=1e-3)
    with pytest.raises(ValueError, match="needs labels"):
        fixed(exclusion=places)(query, ref_emb=reference)


def test_the_same_tensor_as_labels_and_ref_labels_is_no_trap():
    query, reference = pair()
    labels, loss = torch.arange(6), fixed()
    expected = loss(query, labels, ref_emb=reference, ref_labels=labels.clone())
    assert expected > 0
    assert loss(query, labels, ref_emb=reference, ref_labels=labels) == expected
    assert loss(query, labels, ref_emb=reference) == expected
    assert loss(query, ref_emb=reference) == expected


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 0]])
def test_gradients(labels):
    query, reference = pair(4, size=3)
    labels, loss = torch.tensor(labels), InfoNCELoss(0.5).double()

    def value(q, r, scale):
        arguments = (q, labels), dict(ref_emb=r, ref_labels=labels)
        return torch.func.functional_call(loss, {"logit_scale": scale}, *arguments)

    assert torch.autograd.gradcheck(value, (query, reference, loss.logit_scale))


def test_the_temperature_is_learned_or_stays():
    assert InfoNCELoss().logit_scale.item() == pytest.approx(2.659, abs=1e-3)
    assert [name for name, _ in InfoNCELoss().named_parameters()] == ["logit_scale"]
    assert not InfoNCELoss(learn_temperature=False).logit_scale.requires_grad
    query, loss = pair()[0], InfoNCELoss().double()
    loss(query, ref_emb=query.detach().clone()).backward()
    assert loss.logit_scale.grad != 0
    copied = copy.deepcopy(loss)
    assert copied.state_dict().keys() == {"logit_scale"} and copied.logit_scale == loss.logit_scale


@pytest.mark.parametrize("labels, ref_labels", [([3], [3]), ([3, 3, 3], [3, 3, 3]), ([1, 2], [3, 4])])
def test_without_a_positive_or_a_negative_there_is_nothing_to_learn(labels, ref_labels):
    query, reference = pair(len(labels))
    loss_func = InfoNCELoss().double()
    loss = loss_func(query, torch.tensor(labels), ref_emb=reference, ref_labels=torch.tensor(ref_labels))
    assert loss.item() == pytest.approx(0, abs=1e-12)
    loss.backward()
    assert all(x.grad.abs().max() < 1e-12 for x in (query, reference, loss_func.logit_scale))
    assert InfoNCELoss().double()(query[:0], torch.tensor([]), ref_emb=reference, ref_labels=torch.tensor(labels)) == 0


def test_bfloat16_and_autocast_are_computed_in_float32():
    query, reference = (x.detach() for x in pair(16, size=32, dtype=torch.float32))
    loss = InfoNCELoss()
    expected = loss(query, ref_emb=reference)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(query, ref_emb=reference) == expected
    rounded = loss(query.bfloat16(), ref_emb=reference.bfloat16())
    assert rounded.dtype == torch.float32
    assert rounded == loss(query.bfloat16().float(), ref_emb=reference.bfloat16().float())
    far = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # every pair as wrong as it can be
    wrong = InfoNCELoss(temperature=1e-4, label_smoothing=0)(far, ref_emb=-far)
    assert wrong.item() == pytest.approx(2e4, rel=1e-5)


def test_every_query_row_has_its_share():
    query, reference = pair(3, 4)
    labels, ref_labels = torch.tensor([5, 6, 8]), torch.tensor([9, 5, 6, 6])
    shares = fixed(reducer=DoNothingReducer())(query, labels, ref_emb=reference, ref_labels=ref_labels)["loss"]
    loss = fixed()(query, labels, ref_emb=reference, ref_labels=ref_labels)
    assert shares["reduction_type"] == "element" and shares["losses"].shape == (3,)
    torch.testing.assert_close(shares["losses"].mean(), loss, rtol=1e-12, atol=0)
    assert shares["losses"][0] > 0 and shares["losses"][2] == 0  # no reference shows place 8


class DataLooks(TorchDispatchMode):
    """Fails where the host reads a value, or a shape follows from one: where a GPU would make it wait."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert not func.__name__.startswith(("_local_scalar_dense", "nonzero", "masked_select")), func.__name__
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device():
    query, reference = pair()
    labels = torch.arange(6)
    with DataLooks(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        query.sum().item()
    with DataLooks():
        InfoNCELoss().double()(query, labels, ref_emb=reference, ref_labels=labels).backward()


@pytest.mark.parametrize("arguments", [{"temperature": 0.0}, {"label_smoothing": 1.0}, {"label_smoothing": -0.1}])
def test_settings_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        InfoNCELoss(**arguments)


def test_calls_that_do_not_say_what_belongs_together():
    query, reference = pair(4, 5)
    with pytest.raises(ValueError, match="needs labels"):
        InfoNCELoss()(query)
    with pytest.raises(ValueError, match="4 embeddings and 5 ref_emb"):
        InfoNCELoss()(query, ref_emb=reference)
