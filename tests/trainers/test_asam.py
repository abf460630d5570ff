"""ASAM against a step that is written out by hand, on a network whose layers differ in scale."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from geodtr_plugin.trainers.asam import ASAM
from geodtr_plugin.trainers.optim import build_schedule

RHO = 0.5
BASES = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.03),
}


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return (torch.randn(6, 5, generator=generator).double(), torch.randn(6, 3, generator=generator).double())


def losses_of(model: nn.Module, step: int) -> torch.Tensor:
    inputs, targets = batch(step)
    return (model(inputs) - targets).pow(2).mean()


def cosine(optimizer, epochs: int, warmup_epochs: int):
    length = dict(epochs=epochs, steps_per_epoch=1, by="epoch", warmup_epochs=warmup_epochs)
    return build_schedule("cosine", optimizer, **length)["trunk_scheduler_by_epoch"]


def train(model: nn.Module, optimizer: ASAM, steps: range, scheduler=None) -> list[float]:
    """As the trainer does it: a first pass, then `step` with a closure for the second."""
    found = []
    for step in steps:

        def closure(step=step):
            optimizer.zero_grad()
            loss = losses_of(model, step)
            loss.backward()
            return loss.detach()

        closure()
        found.append(float(optimizer.step(closure)))
        if scheduler is not None:
            scheduler.step()
    return found


def train_by_hand(model: nn.Module, base: torch.optim.Optimizer, steps: range) -> list[float]:
    """The same by the formula, with weights that are written down and put back."""
    found, parameters = [], list(model.parameters())
    for step in steps:
        gradients = torch.autograd.grad(losses_of(model, step), parameters)
        weights = [p.detach().clone() for p in parameters]
        norm = torch.cat([(p.abs() * g).flatten() for p, g in zip(weights, gradients)]).norm()
        for p, weight, g in zip(parameters, weights, gradients):
            p.data = weight + RHO * weight**2 * g / (norm + 1e-12)
        loss = losses_of(model, step)
        gradients = torch.autograd.grad(loss, parameters)
        for p, weight, g in zip(parameters, weights, gradients):
            p.data, p.grad = weight, g
        base.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("base", BASES)
def test_training_equals_the_formula(base):
    ours, theirs = network(), network()
    found = train(ours, ASAM(BASES[base](ours.parameters()), RHO), range(5))
    assert found == pytest.approx(train_by_hand(theirs, BASES[base](theirs.parameters()), range(5)), rel=1e-12)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14)
    plain = network()
    optimizer = BASES[base](plain.parameters())
    for step in range(5):
        optimizer.zero_grad()
        losses_of(plain, step).backward()
        optimizer.step()
    assert (plain[0].weight - ours[0].weight).abs().max() > 1e-4  # the climb matters


def test_the_base_steps_from_the_weights_bit_for_bit():
    """A step of length zero must leave no trace of the climb; p + e - e would leave rounding errors."""
    model = network().float()
    weights = [p.detach().clone() for p in model.parameters()]
    optimizer = ASAM(torch.optim.SGD(model.parameters(), lr=0.0), RHO)
    seen = []

    def closure():
        seen.append([p.detach().clone() for p in model.parameters()])

    nn.functional.mse_loss(model(torch.ones(2, 5)), torch.ones(2, 3)).backward()
    assert optimizer.step(closure) is None
    assert all(torch.equal(p, weight) for p, weight in zip(model.parameters(), weights))
    assert len(seen) == 1 and not torch.equal(seen[0][0], weights[0])


def test_weights_come_back_when_the_second_pass_is_interrupted():
    model = network()
    before = model[0].weight.detach().clone()
    losses_of(model, 0).backward()

    def closure():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ASAM(BASES["sgd"](model.parameters()), RHO).step(closure)
    assert torch.equal(model[0].weight, before)


def test_the_length_of_the_first_gradient_does_not_matter():
    """Which is why clipping its norm changes nothing."""
    found = []
    for scale in (1.0, 1e-3):
        model = network()
        optimizer = ASAM(BASES["sgd"](model.parameters()), RHO)
        (scale * losses_of(model, 0)).backward()
        optimizer.step(lambda model=model, found=found: found.append(model[2].weight.detach().clone()))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=0)


def test_parameters_without_a_gradient_stay():
    model = network()
    model[0].requires_grad_(False)
    frozen = model[0].weight.clone()
    optimizer = ASAM(BASES["adamw"](model.parameters()), RHO)
    train(model, optimizer, range(2))
    assert torch.equal(model[0].weight, frozen) and not torch.equal(model[2].weight, network()[2].weight)


@pytest.mark.parametrize("scheduled", ["asam", "base"])
def test_a_schedule_changes_the_rate_of_the_base(scheduled):
    model = network()
    optimizer = ASAM(torch.optim.SGD(model.parameters(), lr=0.1), RHO)
    scheduler = cosine(optimizer if scheduled == "asam" else optimizer.base, epochs=4, warmup_epochs=2)
    rates = []
    for step in range(4):
        rates.append(optimizer.base.param_groups[0]["lr"])
        assert optimizer.param_groups[0]["lr"] == rates[-1]
        train(model, optimizer, range(step, step + 1), scheduler)
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.05])


@pytest.mark.parametrize("base", BASES)
def test_a_resumed_training_equals_one_without_a_break(base):
    whole = network()
    optimizer = ASAM(BASES[base](whole.parameters()), RHO)
    scheduler = cosine(optimizer, epochs=6, warmup_epochs=0)
    train(whole, optimizer, range(6), scheduler)

    first = network()
    optimizer = ASAM(BASES[base](first.parameters()), RHO)
    scheduler = cosine(optimizer, epochs=6, warmup_epochs=0)
    train(first, optimizer, range(3), scheduler)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (first, optimizer, scheduler)], file)
    file.seek(0)

    second = network()
    optimizer = ASAM(BASES[base](second.parameters()), RHO)
    scheduler = cosine(optimizer, epochs=6, warmup_epochs=0)
    for part, state in zip((second, optimizer, scheduler), torch.load(file, weights_only=True)):
        part.load_state_dict(state)
    assert optimizer.param_groups is optimizer.base.param_groups and optimizer.state is optimizer.base.state
    train(second, optimizer, range(3, 6), scheduler)
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), second.parameters()))


def test_states_go_into_a_plain_optimizer_and_back():
    model = network()
    optimizer = ASAM(BASES["adamw"](model.parameters()), RHO)
    train(model, optimizer, range(2))
    plain = BASES["adamw"](model.parameters())
    plain.load_state_dict(optimizer.state_dict())
    assert torch.equal(plain.state[model[0].weight]["exp_avg"], optimizer.state[model[0].weight]["exp_avg"])
    optimizer.base.load_state_dict(plain.state_dict())  # past the wrapper
    assert optimizer.state[model[0].weight]["step"] == 2


def test_an_optimizer_that_is_wrapped_in_mid_training_keeps_its_state():
    model = network()
    base = BASES["adamw"](model.parameters())
    losses_of(model, 0).backward()
    base.step()
    optimizer = ASAM(base, RHO)
    assert optimizer.state[model[0].weight]["step"] == 1 and len(optimizer.param_groups) == 1
    extra = nn.Parameter(torch.ones(2))
    optimizer.add_param_group({"params": [extra], "lr": 7.0})
    assert base.param_groups[1]["lr"] == 7.0 and base.param_groups[1]["weight_decay"] == 0.03


def test_mistakes_are_named():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match="rho is -1"):
        ASAM(optimizer, -1)
    with pytest.raises(TypeError, match="two passes"):
        ASAM(optimizer, 1).step()
