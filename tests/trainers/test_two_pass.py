"""A training step with ASAM is the one that its definition gives, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from recorded_batches import record_batches

from geodtr_plugin import SoftMarginTripletLoss
from geodtr_plugin.samplers import EmbeddingBank
from geodtr_plugin.trainers.asam import ASAM

RHO = 2.5  # TransGeo's


def linear_towers(towers):
    torch.manual_seed(3)
    trunk = towers()
    trunk.query = torch.nn.Linear(6, 8)
    return trunk


def by_hand(trunk, pairs, rows, optimizer):
    """Loss at the weights, ascent by rho w^2 g / || |w| g ||, gradient there, back, step."""
    loss_func = SoftMarginTripletLoss(alpha=10)

    def loss():
        outputs = trunk(pairs.query[rows], pairs.reference[rows])
        labels = torch.arange(len(rows))
        return loss_func(outputs.query, labels, ref_emb=outputs.reference, ref_labels=labels.clone())

    weights = list(trunk.parameters())
    first = loss()
    gradients = torch.autograd.grad(first, weights)
    norm = torch.sqrt(sum(((w.abs() * g) ** 2).sum() for w, g in zip(weights, gradients)))
    before = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for w, g in zip(weights, gradients):
            w += RHO * w**2 * g / (norm + 1e-12)
    optimizer.zero_grad()
    loss().backward()
    with torch.no_grad():
        for w, old in zip(weights, before):
            w.copy_(old)
    optimizer.step()
    return float(first)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_steps_equal_the_two_passes_by_hand(make_trainer, towers, pairs, kind):
    def base(trunk):
        if kind == "sgd":
            return torch.optim.SGD(trunk.parameters(), lr=0.05)
        return torch.optim.AdamW(trunk.parameters(), lr=1e-3, weight_decay=0.03)

    ours, reference, data, seen = linear_towers(towers), linear_towers(towers), pairs(), []
    trainer = make_trainer(
        trunk=ours, optimizers={"trunk_optimizer": ASAM(base(ours), RHO)}, dataset=data, lr_schedulers={},
        loss_funcs={"metric_loss": SoftMarginTripletLoss(alpha=10)},
        end_of_iteration_hook=lambda t: seen.append(float(t.losses["total_loss"])),
    )  # fmt: skip
    batches = record_batches(trainer)
    trainer.train(1, 2)
    optimizer = base(reference)
    losses = [by_hand(reference, data, batch.rows, optimizer) for batch in batches]
    assert len(seen) == 8 and seen == pytest.approx(losses, rel=1e-5)
    for one, other in zip(ours.parameters(), reference.parameters()):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_gradients_are_computed_twice_on_the_same_augmented_batch(make_trainer, towers):
    seen = []
    trunk = linear_towers(towers)
    trunk.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    trainer = make_trainer(
        trunk=trunk, optimizers={"trunk_optimizer": ASAM(torch.optim.SGD(trunk.parameters(), lr=0.1), 0.5)},
        lr_schedulers={}, iterations_per_epoch=2,
        batch_transform=lambda query, reference, labels: (query + torch.rand_like(query), reference, labels),
    )  # fmt: skip
    trainer.train()
    assert len(seen) == 4 and torch.equal(seen[0], seen[1]) and torch.equal(seen[2], seen[3])
    assert not torch.equal(seen[0], seen[2])


def test_the_bank_holds_each_pair_as_the_step_saw_it(make_trainer, towers, pairs):
    bank, trunk = EmbeddingBank(24), linear_towers(towers)
    trainer = make_trainer(trunk=trunk, bank=bank, optimizers={}, lr_schedulers={})
    trainer.train()
    outputs = trunk(pairs().query, pairs().reference)
    torch.testing.assert_close(bank.query, outputs.query.detach())
    torch.testing.assert_close(bank.reference, outputs.reference.detach())


def test_values_are_clipped_before_the_norm(make_trainer, towers):
    trunk, seen = linear_towers(towers), []
    trainer = make_trainer(
        trunk=trunk, max_grad_value=1e-3, iterations_per_epoch=1,
        loss_funcs={"metric_loss": SoftMarginTripletLoss()},
        end_of_iteration_hook=lambda t: seen.append(max(float(p.grad.abs().max()) for p in trunk.parameters())),
    )  # fmt: skip
    trainer.train()
    assert seen[0] == pytest.approx(1e-3)
