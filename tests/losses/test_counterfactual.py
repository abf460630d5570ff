"""The counterfactual loss against its formula."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.reducers import DoNothingReducer

from geodtr_plugin.losses import CounterfactualLoss


def pair(n=6, size=5, dtype=torch.float64):
    return (torch.randn(n, size, dtype=dtype, requires_grad=True) for _ in range(2))


@pytest.mark.parametrize("beta", [1.0, 5.0])
def test_it_is_the_formula(beta):
    one, other = pair()
    rows = zip(F.normalize(one).tolist(), F.normalize(other).tolist())
    terms = [log(1 + exp(-beta * (2 - 2 * sum(x * y for x, y in zip(a, b))))) for a, b in rows]
    loss = CounterfactualLoss(beta=beta)(one, ref_emb=other)
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_rows_are_elements_and_labels_do_not_matter():
    one, other = pair()
    loss = CounterfactualLoss(reducer=DoNothingReducer())
    terms = loss(one, ref_emb=other)["loss"]
    assert terms["reduction_type"] == "element" and terms["indices"].tolist() == list(range(6))
    labels = torch.zeros(6, dtype=torch.long)
    assert CounterfactualLoss()(one, labels, ref_emb=other, ref_labels=labels) == terms["losses"].mean()


def test_it_falls_with_the_distance():
    one = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    losses = [CounterfactualLoss()(one, ref_emb=torch.tensor([other])) for other in ([1.0, 0], [1.0, 1], [-1.0, 0])]
    assert losses[0].item() == pytest.approx(log(2)) and losses[0] > losses[1] > losses[2]


def test_the_squared_distance_and_the_cosine_mean_the_same():
    one, other = pair()
    by_distance = CounterfactualLoss(distance=LpDistance(power=2))(one, ref_emb=other)
    # PML's row distance adds 1e-6 to every difference
    torch.testing.assert_close(by_distance, CounterfactualLoss()(one, ref_emb=other), rtol=1e-4, atol=0)


def test_gradients():
    one, other = pair(4, 3)
    assert torch.autograd.gradcheck(lambda x, y: CounterfactualLoss()(x, ref_emb=y), (one, other))


def test_bfloat16_is_computed_in_float32():
    one, other = (x.detach().bfloat16() for x in pair(dtype=torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        loss = CounterfactualLoss()(one, ref_emb=other)
    assert loss.dtype == torch.float32
    assert loss == CounterfactualLoss()(one.float(), ref_emb=other.float())


def test_an_empty_batch_gives_zero():
    one, other = pair(0)
    assert CounterfactualLoss()(one, ref_emb=other) == 0


def test_calls_that_do_not_fit():
    one, other = pair()
    with pytest.raises(ValueError, match="counterfactual embeddings as ref_emb"):
        CounterfactualLoss()(one)
    with pytest.raises(ValueError, match="aligned rows"):
        CounterfactualLoss()(one, ref_emb=other[:3])
    with pytest.raises(ValueError, match="indices_tuple"):
        CounterfactualLoss()(one, None, (torch.tensor([0]),) * 3, other)
    with pytest.raises(ValueError, match="beta"):
        CounterfactualLoss(beta=0.0)
