"""A method's own training step: several optimizers in turns, with all that plain steps have."""

from __future__ import annotations

import math

import pytest
import torch
from recorded_batches import record_batches
from torch.nn import functional as F

from geodtr_plugin import SoftMarginTripletLoss
from geodtr_plugin.samplers import EmbeddingBank
from geodtr_plugin.trainers import NonFiniteLossError, WeightAverage
from geodtr_plugin.trainers.checkpoint import load_training_state, save_training_state
from geodtr_plugin.trainers.epoch_loop import Stopped
from geodtr_plugin.trainers.optim import build_optimizer, build_schedule
from geodtr_plugin.utils.seed import seed_everything

RATES = {"towers": 0.02, "head": 0.1}


class TwoPlayers(torch.nn.Module):
    """Two towers, and a head that tells queries from references; the towers want to be told apart badly."""

    def __init__(self):
        super().__init__()
        self.query = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2))
        self.reference, self.head = torch.nn.Linear(6, 8), torch.nn.Linear(8, 1)

    def encode_query(self, x):
        return F.normalize(self.query(x))

    def encode_reference(self, x):
        return F.normalize(self.reference(x))


def told(head, query, reference):
    return F.softplus(head(query)).mean() + F.softplus(-head(reference)).mean()


class Turns:
    losses = ("head_loss",)
    without = "--model.head false"

    def __init__(self, model):
        self.model, self.poisoned = model, False

    def parts(self):
        towers = (self.model.query, self.model.reference)
        return {"towers": [p for m in towers for p in m.parameters()], "head": list(self.model.head.parameters())}

    def settings(self, part):
        return {"lr": RATES[part]}

    def __call__(self, step, query, reference, labels):
        q, r = self.model.encode_query(query), self.model.encode_reference(reference)
        loss = told(self.model.head, q.detach(), r.detach())
        step.descend("head", loss)
        towers = step.embedding_loss(q, r, labels) - 0.1 * told(self.model.head, q, r)
        step.descend("towers", towers)
        step.embedding_loss(q.detach().flip(1), r.detach(), labels)  # of a later call, which is not reported
        return (q, r), {"head_loss": loss * math.nan if self.poisoned else loss}


def build(make_trainer, frozen=(), seed=3, **kwargs):
    seed_everything(seed)
    model = TwoPlayers()
    turns = Turns(model)
    optimizers, schedules = {}, {}
    for part, parameters in turns.parts().items():
        if part in frozen:
            continue
        settings = dict(lr=RATES[part], weight_decay=0.0, eps=1e-8, momentum=0.5)
        optimizers[f"{part}_optimizer"] = optimizer = build_optimizer("adam", parameters, **settings)
        schedules |= build_schedule(
            "cosine", optimizer, epochs=4, steps_per_epoch=4, by="step", warmup_epochs=1, part=part
        )
    return make_trainer(
        trunk=model, optimizers=optimizers, lr_schedulers=schedules, own_step=turns, seed=seed,
        loss_funcs={"metric_loss": SoftMarginTripletLoss(alpha=10)}, **kwargs,
    )  # fmt: skip


def outcome(trainer):
    optimizers = {name: optimizer.state_dict() for name, optimizer in trainer.optimizers.items()}
    schedules = {name: scheduler.state_dict()["_last_lr"] for name, scheduler in trainer.lr_schedulers.items()}
    return trainer.models["trunk"].state_dict(), optimizers, schedules, torch.rand(()), trainer.epoch_losses


def test_it_equals_the_turns_by_hand_clipped_part_by_part(make_trainer):
    ours = build(make_trainer, max_grad_norm=0.5, iterations_per_epoch=3)
    theirs = build(make_trainer).models["trunk"]
    batches, norms = record_batches(ours), []
    ours.end_of_iteration_hook = lambda t: norms.append(float(t.grad_norm))
    state = torch.random.get_rng_state()
    ours.train(1, 1)

    parts = Turns(theirs).parts()
    adam = {part: torch.optim.Adam(own, RATES[part], betas=(0.5, 0.999)) for part, own in parts.items()}
    loss_func, expected = SoftMarginTripletLoss(alpha=10), []
    torch.random.set_rng_state(state)
    for number, (query, reference, *_) in enumerate(batches):
        for part, optimizer in adam.items():
            optimizer.param_groups[0]["lr"] = RATES[part] * (number + 1) / 4  # the warm-up of an epoch of four steps
        q, r = theirs.encode_query(query), theirs.encode_reference(reference)
        head = told(theirs.head, q.detach(), r.detach())
        adam["head"].zero_grad()
        head.backward()
        squares = torch.nn.utils.clip_grad_norm_(parts["head"], 0.5) ** 2
        adam["head"].step()
        theirs.head.requires_grad_(False)
        labels = torch.arange(len(q))
        found = loss_func(q, labels, ref_emb=r, ref_labels=labels.clone())
        adam["towers"].zero_grad()
        (found - 0.1 * told(theirs.head, q, r)).backward()
        squares = squares + torch.nn.utils.clip_grad_norm_(parts["towers"], 0.5) ** 2
        adam["towers"].step()
        theirs.head.requires_grad_(True)
        expected.append((found.item(), head.item(), squares.sqrt().item()))

    assert norms == pytest.approx([norm for *_, norm in expected], rel=1e-5)
    means = [sum(column) / 3 for column in zip(*expected)]
    reported = [ours.epoch_losses[name] for name in ("metric_loss", "head_loss")]
    assert [*reported, ours.epoch_stats["grad_norm"]] == pytest.approx(means, rel=1e-5)
    assert ours.epoch_losses["total_loss"] == ours.epoch_losses["metric_loss"]
    for name, tensor in ours.models["trunk"].state_dict().items():
        torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_killed_training_goes_on_from_its_last_epoch(make_trainer, pairs, tmp_path):
    straight = build(make_trainer, dataset=pairs(noisy=True))
    straight.train(1, 3)
    expected = outcome(straight)

    def die(trainer):
        if (trainer.epoch, trainer.iteration) == (2, 2):
            raise MemoryError

    first = build(make_trainer, dataset=pairs(noisy=True))
    first.end_of_epoch_hook = lambda trainer: save_training_state(tmp_path / "last.pt", trainer, trainer.epoch)
    first.end_of_iteration_hook = die
    with pytest.raises(MemoryError):
        first.train(1, 3)

    resumed = build(make_trainer, dataset=pairs(noisy=True))
    seed_everything(99)
    assert load_training_state(tmp_path / "last.pt", resumed)["epoch"] == 1
    resumed.train(2, 3)
    torch.testing.assert_close(outcome(resumed), expected, rtol=0, atol=0)


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_stop_within_an_epoch_changes_nothing(make_trainer, pairs, tmp_path, step):
    straight = build(make_trainer, dataset=pairs(noisy=True))
    straight.train(1, 3)
    expected = outcome(straight)

    first = build(make_trainer, dataset=pairs(noisy=True))

    def stop(trainer):
        trainer.stop_requested = trainer.epoch == 2 and trainer.iteration + 1 == step

    first.end_of_iteration_hook = stop
    with pytest.raises(Stopped):
        first.train(1, 3)
    save_training_state(tmp_path / "last.pt", first, 1)

    resumed = build(make_trainer, dataset=pairs(noisy=True), seed=3)
    seed_everything(99)
    load_training_state(tmp_path / "last.pt", resumed)
    resumed.train(2, 3)
    torch.testing.assert_close(outcome(resumed), expected, rtol=0, atol=0)


def test_a_frozen_part_stays_while_the_other_learns(make_trainer):
    trainer = build(make_trainer, frozen=["head"])
    before = {name: tensor.clone() for name, tensor in trainer.models["trunk"].state_dict().items()}
    trainer.train(1, 1)
    after = trainer.models["trunk"].state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"query", "reference"}


def test_the_average_and_the_bank_follow(make_trainer):
    trainer = build(make_trainer, bank=EmbeddingBank(24))
    trainer.average = WeightAverage(trainer.models["trunk"], 0.5)
    trainer.train(1, 1)
    torch.testing.assert_close(trainer.bank.query.norm(dim=1), torch.ones(24))
    assert trainer.average.updates == 4


def test_a_loss_of_the_step_that_is_not_finite_ends_the_training(make_trainer):
    trainer = build(make_trainer)
    trainer.end_of_iteration_hook = lambda t: setattr(t.own_step, "poisoned", True)
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train(1, 1)
    assert caught.value.quantity == "head_loss" and caught.value.step == 1


def test_optimizers_are_those_of_the_parts(make_trainer):
    trainer = build(make_trainer)
    with pytest.raises(AssertionError, match="optimizers keys must be one of towers_optimizer, head_optimizer"):
        make_trainer(trunk=trainer.models["trunk"], own_step=trainer.own_step)


def test_momentum_is_the_first_beta_of_adam():
    weight = [torch.nn.Parameter(torch.ones(2))]
    settings = dict(lr=0.1, weight_decay=0.0, eps=1e-8)
    for name in ("adam", "adamw"):
        assert build_optimizer(name, weight, momentum=0.5, **settings).defaults["betas"] == (0.5, 0.999)
    assert build_optimizer("sgd", weight, momentum=0.5, **settings).defaults["momentum"] == 0.5
