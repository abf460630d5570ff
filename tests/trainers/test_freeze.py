"""Frozen parts stay as they are to the last bit, slower ones learn at their share of the rate, and all else moves."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.losses import TripletMarginLoss

from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.trainers.freeze import freeze, is_part, parameters_of, rest
from geodtr_plugin.trainers.optim import build_optimizer, build_schedule
from geodtr_plugin.utils.errors import UserError

SETTINGS = dict(weight_decay=0.1, eps=1e-8, momentum=0.9)  # decay moves what an optimizer holds, gradient or not


@pytest.mark.parametrize(
    ("name", "part", "expected"),
    [
        ("query_tower.trunk.0.weight", "trunk", True),
        ("query_tower.trunk", "trunk", True),
        ("query_tower.trunk.0.weight", "query_tower", True),
        ("query_tower.trunk.0.weight", "query_tower.trunk.[0-3]", True),
        ("query_tower.trunk.4.weight", "query_tower.trunk.[0-3]", False),
        ("reference_tower.trunk.0.weight", "query_tower.trunk", False),
        ("query_tower.trunk_norm.weight", "trunk", False),
        ("query_tower.layout.position", "*.position", True),
        ("query_tower.layout.position", "TRUNK", False),
    ],
)
def test_a_part_is_a_run_of_steps_of_a_name(name, part, expected):
    assert is_part(name, part) is expected


def trained(pairs, towers, parts: str, steps: int = 6, **options):
    """Train towers with dropout and batch norm; return them with their state before."""
    torch.manual_seed(0)
    model = towers()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    frozen = freeze(model, parts)
    optimizer = build_optimizer("adamw", model.parameters(), lr=0.05, **SETTINGS, **options)
    trainer = CrossViewTrainer(
        {"trunk": model}, {"trunk_optimizer": optimizer}, 4, {"metric_loss": TripletMarginLoss()}, pairs(),
        frozen=frozen, data_device="cpu", dataloader_num_workers=0, progress=False,
    )  # fmt: skip
    trainer.train(num_epochs=steps // 6)
    return model, before


@pytest.mark.parametrize("parts", ["query", "query, nothing_else"])
def test_a_frozen_part_keeps_parameters_and_statistics_and_the_others_move(pairs, towers, parts):
    if "nothing" in parts:
        with pytest.raises(UserError, match="No parameter of the network is a part of 'nothing_else'.*Parts are query"):
            freeze(towers(), parts)
        return
    model, before = trained(pairs, towers, parts)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) is name.startswith("query"), name
    assert not model.query.training and not model.query[2].training and model.reference.training


def test_without_frozen_parts_everything_moves(pairs, towers):
    model, before = trained(pairs, towers, "")
    assert not any(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.query.training


def test_a_part_without_its_batch_norm_leaves_the_statistics_moving(pairs, towers):
    model, before = trained(pairs, towers, "query.0")
    state = model.state_dict()
    assert torch.equal(state["query.0.weight"], before["query.0.weight"])
    assert not torch.equal(state["query.1.running_mean"], before["query.1.running_mean"]) and model.query[1].training


def test_everything_frozen_is_refused(towers):
    with pytest.raises(UserError, match="nothing of the network is left to train"):
        freeze(towers(), "*")


def test_shared_towers_are_found_under_either_name():
    tower = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    model = torch.nn.ModuleDict({"query_tower": tower, "reference_tower": tower})
    rest(model.train(), freeze(model, "reference_tower.[01]"))
    assert [p.requires_grad for p in tower.parameters()] == [False] * 4 + [True] * 2
    assert not tower[1].training and tower[2].training
    assert len(parameters_of(model, "query_tower")) == 6


def test_a_scaled_part_follows_the_schedule_at_its_share(towers):
    model = towers()
    optimizer = build_optimizer("sgd", model.parameters(), lr=0.4, **SETTINGS, scaled=parameters_of(model, "query"),
                                scale=0.1)  # fmt: skip
    schedule = build_schedule("cosine", optimizer, epochs=4, steps_per_epoch=1, by="epoch", warmup_epochs=1)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule["trunk_scheduler_by_epoch"].step()
    assert rates[0] == pytest.approx([0.4, 0.04])
    assert all(slow == pytest.approx(0.1 * fast) for fast, slow in rates) and rates[3][0] < 0.2


def test_a_scale_of_one_is_one_group_as_ever(towers):
    model = towers()
    optimizer = build_optimizer("adamw", model.parameters(), lr=0.4, **SETTINGS, scaled=model.parameters(), scale=1.0)
    assert len(optimizer.param_groups) == 1


def test_a_scaled_step_of_plain_descent_is_that_share_of_the_step(towers):
    moved = {}
    for scale in (1.0, 0.25):
        torch.manual_seed(0)
        model = towers()
        start = model.query[0].weight.detach().clone()
        settings = dict(weight_decay=0.0, eps=1e-8, momentum=0.0, scaled=parameters_of(model, "query"), scale=scale)
        optimizer = build_optimizer("sgd", model.parameters(), lr=0.1, **settings)
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
        moved[scale] = start - model.query[0].weight.detach()
    assert torch.allclose(moved[0.25], 0.25 * moved[1.0])
