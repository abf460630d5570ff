"""The moving average of the weights: what it is by definition, what it leaves alone, and that it goes on."""

from __future__ import annotations

import copy

import pytest
import torch

from geodtr_plugin.trainers import WeightAverage
from geodtr_plugin.trainers.checkpoint import CheckpointError, load_training_state, save_training_state
from geodtr_plugin.trainers.epoch_loop import Stopped


def steps(model: torch.nn.Module, count: int):
    """Move all that a network holds, as training does; yield its state after each step."""
    for step in range(count):
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape) if tensor.is_floating_point() else torch.tensor(step + 5))
        yield copy.deepcopy(model.state_dict())


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_is_that_of_its_definition(towers, decay):
    model = towers()
    average = WeightAverage(model, decay)
    expected: dict[str, torch.Tensor] = {}
    for number, state in enumerate(steps(model, 30)):
        average.update(model)
        keep = min(decay, number / (number + 9))
        for name, tensor in state.items():
            mixed = tensor.is_floating_point() and number > 0
            expected[name] = keep * expected[name] + (1 - keep) * tensor.double() if mixed else tensor.double()
    for name, tensor in average.model.state_dict().items():
        torch.testing.assert_close(tensor.double(), expected[name], atol=1e-5, rtol=1e-5)
    assert average.model.state_dict()["query.1.num_batches_tracked"] == 34, "counters are copied"
    assert torch.equal(model.state_dict()["query.0.weight"], state["query.0.weight"]), "the network is left alone"


def test_weights_that_two_towers_share_stay_one_tensor():
    linear = torch.nn.Linear(3, 3)
    model = torch.nn.ModuleList([linear, linear])
    average = WeightAverage(model, 0.9)
    for _ in steps(model, 3):
        average.update(model)
    assert average.model[0] is average.model[1]


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_a_decay_outside_of_its_range_is_refused(towers, decay):
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        WeightAverage(towers(), decay)


def build(make_trainer, pairs, towers, average=True):
    torch.manual_seed(0)
    trunk = towers()
    own = WeightAverage(trunk, 0.8) if average else None
    return make_trainer(trunk=trunk, seed=3, dataset=pairs(noisy=True), average=own)


def test_the_training_itself_is_that_without_an_average(make_trainer, pairs, towers):
    with_it, without = (build(make_trainer, pairs, towers, average) for average in (True, False))
    for trainer in (with_it, without):
        torch.manual_seed(1)
        trainer.train(1, 2)
    states = [trainer.models["trunk"].state_dict() for trainer in (with_it, without)]
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())
    assert with_it.average.updates == 8
    assert not torch.equal(with_it.average.model.query[0].weight, states[0]["query.0.weight"])


@pytest.mark.parametrize("step", [1, 3, "hook"])
def test_a_stop_changes_nothing(make_trainer, pairs, towers, tmp_path, step):
    straight = build(make_trainer, pairs, towers)
    straight.train(1, 3)

    first = build(make_trainer, pairs, towers)

    def stop_in_step(trainer):
        trainer.stop_requested = trainer.epoch == 2 and trainer.iteration + 1 == step

    def stop_in_hook(trainer):
        if step == "hook" and trainer.epoch == 2:
            raise Stopped

    first.end_of_iteration_hook, first.end_of_epoch_hook = stop_in_step, stop_in_hook
    with pytest.raises(Stopped):
        first.train(1, 3)
    save_training_state(tmp_path / "last.pt", first, 1)

    resumed = build(make_trainer, pairs, towers)
    load_training_state(tmp_path / "last.pt", resumed)
    resumed.train(2, 3)
    assert resumed.average.updates == straight.average.updates == 12
    for of in (lambda trainer: trainer.average.model, lambda trainer: trainer.models["trunk"]):
        expected, found = of(straight).state_dict(), of(resumed).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("average", [True, False])
def test_a_state_with_an_average_belongs_to_a_run_with_one(make_trainer, pairs, towers, tmp_path, average):
    trainer = build(make_trainer, pairs, towers, average)
    trainer.train(1, 1)
    save_training_state(tmp_path / "last.pt", trainer, 1)
    with pytest.raises(CheckpointError, match="average, this run has"):
        load_training_state(tmp_path / "last.pt", build(make_trainer, pairs, towers, not average))
