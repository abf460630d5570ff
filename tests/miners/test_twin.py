"""TwinMiner: which triplets, in PML's two calling styles, and its statistics."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.trainers import TwoStreamMetricLoss
from pytorch_metric_learning.utils import common_functions

from geodtr_plugin.losses import SoftMarginTripletLoss
from geodtr_plugin.miners import CHSG, TwinMiner
from geodtr_plugin.utils.errors import UserError

# CHSG labels of four places
LABELS = torch.tensor([10, 4, 28, 0, 11, 5, 29, 1])


def embeddings(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))


def mined(miner: TwinMiner, labels=LABELS, ref_labels=LABELS) -> list[tuple[int, int, int]]:
    triplets = miner(embeddings(len(labels), 0), labels, embeddings(len(ref_labels), 1), ref_labels)
    return list(zip(*(part.tolist() for part in triplets)))


def test_only_twins_of_four_places():
    triplets = mined(TwinMiner())
    assert sorted(triplets) == [(i, i, (i + 4) % 8) for i in range(8)]


def test_with_all_of_four_places():
    triplets = mined(TwinMiner("with_all"))
    assert len(triplets) == len(set(triplets)) == 56
    assert sum(LABELS[n] == LABELS[a] ^ 1 for a, _, n in triplets) == 8
    assert not any(LABELS[p] == LABELS[a] ^ 1 for a, p, _ in triplets)
    repeated = mined(TwinMiner("with_all", repeats=6))
    # now half of all triplets are about twins: as much weight as the six other negatives together
    assert len(repeated) == 96 and sum(LABELS[n] == LABELS[a] ^ 1 for a, _, n in repeated) == 48


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), max_size=12), st.lists(st.integers(0, 9), max_size=12), st.booleans())
def test_equals_a_naive_search(labels, ref_labels, alone):
    rows = range(len(labels if alone else ref_labels))
    others = labels if alone else ref_labels
    every = [
        (a, p, n)
        for a in range(len(labels))
        for p in rows
        for n in rows
        if labels[a] == others[p] and not (alone and a == p) and others[n] != labels[a]
    ]
    twins = [t for t in every if others[t[2]] == labels[t[0]] ^ 1]
    labels, ref_labels = torch.tensor(labels, dtype=torch.long), torch.tensor(ref_labels, dtype=torch.long)
    for mode, expected in (("only", twins), ("with_all", every)):
        references = () if alone else (embeddings(len(ref_labels), 1), ref_labels)
        triplets = TwinMiner(mode)(embeddings(len(labels), 0), labels, *references)
        assert sorted(zip(*(part.tolist() for part in triplets))) == sorted(expected)


def test_without_references_both_views_are_in_the_batch():
    labels = LABELS.repeat(2)
    anchor, positive, negative = TwinMiner()(embeddings(16, 0), labels)
    # the positive is the other view; the negative either view of the twin
    assert len(anchor) == 32 and torch.equal((anchor + 8) % 16, positive)
    assert torch.equal(labels[anchor] ^ 1, labels[negative])


def test_the_same_label_tensor_for_both_roles_is_no_trap():
    assert len(mined(TwinMiner(), LABELS, LABELS)) == 8 and len(mined(TwinMiner("with_all"), LABELS, LABELS)) == 56


def test_labels_beyond_float_precision():
    labels = torch.tensor([2**53, 2**53 + 2, 2**53 + 1, 2**53 + 3])
    assert sorted(mined(TwinMiner(), labels, labels.clone())) == [(0, 0, 2), (1, 1, 3), (2, 2, 0), (3, 3, 1)]


def test_a_batch_without_twins_gives_no_triplet_and_a_finite_loss():
    labels = torch.tensor([0, 2, 4])
    query = embeddings(3, 0).requires_grad_()
    triplets = TwinMiner()(query, labels, embeddings(3, 1), labels.clone())
    assert [len(part) for part in triplets] == [0, 0, 0]
    assert TripletMarginLoss()(query, labels, triplets, embeddings(3, 1), labels.clone()) == 0


@pytest.mark.parametrize("loss_func", [TripletMarginLoss(), SoftMarginTripletLoss()])
@pytest.mark.parametrize("mode", ["only", "with_all"])
def test_losses_take_its_triplets(loss_func, mode):
    query, reference = embeddings(8, 0).requires_grad_(), embeddings(8, 1).requires_grad_()
    triplets = TwinMiner(mode)(query, LABELS, reference, LABELS.clone())
    loss = loss_func(query, LABELS, triplets, ref_emb=reference, ref_labels=LABELS.clone())
    loss.backward()
    assert loss > 0 and query.grad.abs().sum() > 0 and reference.grad.abs().sum() > 0


def test_works_as_tuple_miner_of_a_stock_trainer():
    torch.manual_seed(0)
    trunk = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    items = [(torch.rand(3, 4, 4), torch.rand(3, 4, 4), i) for i in range(8)]
    miner, steps = TwinMiner(), []
    TwoStreamMetricLoss(
        models={"trunk": trunk},
        optimizers={"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1)},
        batch_size=4,
        loss_funcs={"metric_loss": TripletMarginLoss()},
        mining_funcs={"tuple_miner": miner},
        dataset=items,
        data_device="cpu",
        dataloader_num_workers=0,
        data_and_label_getter=CHSG().as_getter(),
        end_of_iteration_hook=lambda trainer: steps.append(miner.num_triplets),
    ).train()
    assert steps == [8, 8]


@pytest.mark.parametrize("distance", [None, CosineSimilarity()])
def test_statistics_say_how_near_the_twin_is(distance, monkeypatch):
    monkeypatch.setattr(common_functions, "COLLECT_STATS", True)
    miner = TwinMiner(distance=distance)
    axes = torch.eye(8)
    miner(axes, LABELS, axes, LABELS.clone())
    assert miner.num_twin_triplets == 8 and miner.twin_error_rate == 0
    assert miner.avg_twin_margin == pytest.approx(2**0.5 if distance is None else 1)
    # every query lies where its twin's reference lies
    miner(axes, LABELS, axes.roll(4, 0), LABELS.clone())
    assert miner.twin_error_rate == 1 and miner.avg_twin_margin < 0
    assert set(miner._record_these_stats) >= {"num_twin_triplets", "avg_twin_margin", "twin_error_rate"}


def test_refuses_other_modes_repeats_and_labels():
    with pytest.raises(UserError, match="with_all"):
        TwinMiner("all")
    with pytest.raises(ValueError, match="not 0 times"):
        TwinMiner("with_all", repeats=0)
    with pytest.raises(TypeError, match="whole-number"):
        mined(TwinMiner(), LABELS.float(), LABELS.float())
