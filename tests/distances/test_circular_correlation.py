"""DSM's distance equals the literal crop at the best shift, in values, gradients, headings, and fits PML's losses."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import losses, miners
from torch import Tensor

from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.distances import circular_correlation as module
from geodtr_plugin.losses import InfoNCELoss, SoftMarginTripletLoss, build_loss
from geodtr_plugin.miners import build_miner
from geodtr_plugin.utils.errors import UserError

HEIGHT, CHANNELS = 3, 2
WIDTHS = [(8, 8), (9, 5), (7, 7), (12, 1), (2, 1), (1, 1), (64, 13)]  # of reference and query, even and odd


def maps(count: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, HEIGHT * width * CHANNELS, generator=generator, dtype=dtype)


def literal(query: Tensor, reference: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Crop every reference at every shift, take the one of the highest product: cosines and shifts `[n, m]`."""
    rows = query.unflatten(1, (HEIGHT, -1, CHANNELS))
    similarities, shifts = torch.empty(len(query), len(reference), dtype=query.dtype), {}
    for i, one in enumerate(rows):
        for j, other in enumerate(reference.unflatten(1, (HEIGHT, width, CHANNELS))):
            crops = [other.roll(-k, 1)[:, : one.shape[1]] for k in range(width)]
            shifts[i, j] = max(range(width), key=lambda k: float((crops[k] * one).sum()))  # noqa: B023
            crop = crops[shifts[i, j]]
            similarities[i, j] = (crop * one).sum() / (crop.norm() * one.norm())
    table = torch.tensor([[shifts[i, j] for j in range(len(reference))] for i in range(len(query))])
    return similarities, table


@pytest.mark.parametrize("width, part", WIDTHS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_similarities_are_those_of_the_crops_at_the_best_shift(width, part, dtype, tolerance):
    distance = CircularCorrelation((HEIGHT, width, CHANNELS), part)
    query, reference = maps(5, part, 0, dtype), maps(6, width, 1, dtype)
    expected, shifts = literal(query, reference, width)
    for found in (distance.similarities(query, reference), 1 - distance(query, reference) / 2):
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)
    by_row = distance.pair_similarities(query, reference[:5]), 1 - distance.pairwise_distance(query, reference[:5]) / 2
    for found in by_row:
        torch.testing.assert_close(found, expected[:, :5].diag(), atol=tolerance, rtol=0)
    begin = torch.tensor([0.0 + 360 * k / width for k in shifts[:, :5].diag()])
    middle = (begin + 180 * part / width - 180 + 180) % 360 - 180  # of the query, against that of the reference
    torch.testing.assert_close(distance.headings(query, reference[:5]).float(), middle.float(), atol=1e-4, rtol=0)


def test_norms_and_tiles_do_not_matter(monkeypatch):
    distance = CircularCorrelation((HEIGHT, 9, CHANNELS), 5)
    query, reference = maps(11, 5, 0), maps(13, 9, 1)
    whole = distance.similarities(query, reference)
    monkeypatch.setattr(module, "TILE_BYTES", 8 * 9 * 4 * 4)
    torch.testing.assert_close(distance.similarities(3 * query, reference / 7), whole)


def test_gradients_are_those_of_the_crop():
    distance = CircularCorrelation((HEIGHT, 9, CHANNELS), 5)
    query, reference = maps(3, 5, 0).requires_grad_(), maps(3, 9, 1).requires_grad_()
    assert torch.autograd.gradcheck(distance, (query, reference))
    assert torch.autograd.gradcheck(distance.pairwise_distance, (query, reference))
    weights = torch.randn(3, 3, dtype=torch.float64)
    found = torch.autograd.grad((weights * distance(query, reference)).sum(), (query, reference))
    expected = torch.autograd.grad((weights * (2 - 2 * literal(query, reference, 9)[0])).sum(), (query, reference))
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("width, part", [(64, 64), (64, 32), (64, 13), (12, 12)])
def test_headings_are_those_of_crops(width, part):
    """A query that begins at column k of a map looks k steps clockwise, and so does its middle."""
    reference = maps(width, width, 0, torch.float32).unflatten(1, (HEIGHT, width, CHANNELS))
    first = torch.arange(width)
    query = torch.stack([one.roll(-int(k), 1)[:, :part] for one, k in zip(reference, first)]).flatten(1)
    distance = CircularCorrelation((HEIGHT, width, CHANNELS), part)
    found = distance.headings(query + 0.1 * torch.randn(query.shape), reference.flatten(1))
    expected = (first + part / 2 - width / 2) * 360 / width
    assert ((found - expected + 180) % 360 - 180).abs().max() < 1e-3
    assert found.min() >= -180 and found.max() < 180
    whole = CircularCorrelation((HEIGHT, width, CHANNELS))
    quarter = reference.roll(-width // 4, 2).flatten(1)  # what lay a quarter to the right of the middle lies there now
    assert (whole.headings(quarter, reference.flatten(1)) == 90).all(), "to the right is clockwise"


def test_headings_count_from_the_middle_of_what_is_seen():
    """Maps of rounded-up width show less than their columns: 99 of 512 pixels lie in 13 of 64 columns."""
    reference = maps(1, 64, 0, torch.float32)
    query = reference.unflatten(1, (HEIGHT, 64, CHANNELS))[:, :, 26:39].flatten(1)
    rough = CircularCorrelation((HEIGHT, 64, CHANNELS), 13)
    exact = CircularCorrelation((HEIGHT, 64, CHANNELS), 13, fov=360 * 99 / 512)
    assert rough.headings(query, reference).item() == pytest.approx((26 + 6.5 - 32) * 5.625)
    assert exact.headings(query, reference).item() == pytest.approx((26 + 99 / 16 - 32) * 5.625)


@pytest.mark.parametrize("part", [8, 3])
@pytest.mark.parametrize(
    "loss",
    [
        SoftMarginTripletLoss, InfoNCELoss, losses.TripletMarginLoss, losses.ContrastiveLoss, losses.NTXentLoss,
        losses.MultiSimilarityLoss, losses.LiftedStructureLoss,
    ],
)  # fmt: skip
def test_losses_take_it(loss, part):
    distance = CircularCorrelation((HEIGHT, 8, CHANNELS), part)
    query, reference = maps(6, part, 0, torch.float32).requires_grad_(), maps(6, 8, 1, torch.float32).requires_grad_()
    labels = torch.arange(6)
    value = loss(distance=distance)(query, labels, ref_emb=reference, ref_labels=labels.clone())
    gradients = torch.autograd.grad(value, (query, reference))
    assert value > 0 and all(g.isfinite().all() and g.any() for g in gradients)


def test_the_soft_margin_loss_is_that_of_the_paper():
    distance, labels = CircularCorrelation((HEIGHT, 9, CHANNELS), 5), torch.arange(4)
    query, reference = maps(4, 5, 0), maps(4, 9, 1)
    d = 2 - 2 * literal(query, reference, 9)[0]
    terms = [
        torch.log(1 + torch.exp(10 * (d[i, i] - other)))
        for i in range(4) for j in range(4) if i != j for other in (d[i, j], d[j, i])
    ]  # fmt: skip
    found = SoftMarginTripletLoss(distance=distance)(query, labels, ref_emb=reference, ref_labels=labels)
    torch.testing.assert_close(found, sum(terms) / (2 * 4 * 3))


def test_losses_and_miners_by_name_get_it():
    distance = CircularCorrelation((HEIGHT, 8, CHANNELS), 3)
    query, reference, labels = maps(6, 3, 0, torch.float32), maps(6, 8, 1, torch.float32), torch.arange(6)
    for name in ("soft_margin", "info_nce", "hinge", "sare_ind", "sare_joint", "triplet", "contrastive", "NTXentLoss"):
        loss = build_loss(name, {}, distance=distance)
        assert loss.distance is distance
        assert loss(query, labels, ref_emb=reference, ref_labels=labels.clone()) >= 0
    with pytest.raises(UserError, match="circle"):
        build_loss("circle", {}, distance=distance)
    for name in ("batch_hard", "semihard", "MultiSimilarityMiner"):
        miner = build_miner(name, {}, twins=False, distance=distance)
        miner(query, labels, ref_emb=reference, ref_labels=labels.clone())
        assert miner.distance is distance
    assert build_miner("all", {}, twins=False, distance=distance) is None
    negatives = miners.BatchHardMiner(distance=distance)(query, labels, reference, labels.clone())[2]
    similarities = distance.similarities(query, reference).fill_diagonal_(-2)
    assert torch.equal(negatives, similarities.argmax(1))


def test_a_loss_that_takes_no_distance_is_refused(monkeypatch):
    monkeypatch.setitem(build_loss.__globals__["LOSSES"]._parts, "own", lambda: torch.nn.Identity())
    with pytest.raises(UserError, match="by a rule of its own"):
        build_loss("own", {}, distance=CircularCorrelation((1, 2, 3)))


def test_it_computes_in_float32_whatever_comes():
    distance = CircularCorrelation((HEIGHT, 8, CHANNELS))
    query, reference = maps(4, 8, 0).bfloat16(), maps(4, 8, 1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = distance(query, reference)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, distance(query.float(), reference.float()))


def test_a_map_of_zeros_is_like_nothing():
    distance = CircularCorrelation((HEIGHT, 8, CHANNELS), 3)
    assert not distance.similarities(torch.zeros(2, 18), maps(2, 8, 0)).any()
    assert not distance.similarities(maps(2, 3, 0), torch.zeros(2, 48)).any()


def test_sizes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="9 columns does not fit into a reference of 8"):
        CircularCorrelation((HEIGHT, 8, CHANNELS), 9)
    with pytest.raises(ValueError, match="maps of 8 columns have 48 numbers, not 47"):
        CircularCorrelation((HEIGHT, 8, CHANNELS)).similarities(torch.ones(2, 48), torch.ones(2, 47))
