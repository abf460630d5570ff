"""A resumed training equals one without interruption, bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import ProxyAnchorLoss

from geodtr_plugin.trainers.checkpoint import CheckpointError, load_training_state, save_training_state
from geodtr_plugin.trainers.epoch_loop import Stopped
from geodtr_plugin.utils.seed import seed_everything


class Noisy(torch.nn.Module):
    """A batch transform that draws from every global generator and keeps a state of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, query, reference, labels):
        self.calls += 1
        shift = random.random() + np.random.rand() + 1e-3 * float(self.calls)
        return query + 0.1 * torch.randn_like(query) + 0.01 * shift, reference, labels


class Memory(ProxyAnchorLoss):
    """A loss with parameters; places 100..123 become classes 0..23."""

    def forward(self, embeddings, labels=None, indices_tuple=None, ref_emb=None, ref_labels=None):
        return super().forward(torch.cat([embeddings, ref_emb]), torch.cat([labels, ref_labels]) - 100)


def build(make_trainer, pairs, workers, seed=3):
    seed_everything(seed)
    loss = Memory(num_classes=24, embedding_size=8)
    trainer = make_trainer(
        seed=seed,
        dataset=pairs(noisy=True),
        batch_transform=Noisy(),
        dataloader_num_workers=workers,
        loss_funcs={"metric_loss": loss},
        max_grad_norm=1.0,
    )
    trainer.optimizers["metric_loss_optimizer"] = torch.optim.SGD(loss.parameters(), lr=0.1, momentum=0.9)
    return trainer


def outcome(trainer):
    losses = trainer.loss_funcs["metric_loss"].state_dict()
    optimizer = trainer.optimizers["trunk_optimizer"].state_dict()
    schedule = trainer.lr_schedulers["trunk_scheduler_by_epoch"].state_dict()
    models = trainer.models["trunk"].state_dict()
    draws = random.random(), np.random.rand(), torch.rand(())
    return models, losses, optimizer["state"], schedule["_last_lr"], draws, trainer.epoch_losses


@pytest.mark.parametrize("workers, iterations", [(0, None), (2, None), (2, 3)])
def test_resume_is_bit_for_bit(make_trainer, pairs, tmp_path, workers, iterations):
    straight = build(make_trainer, pairs, workers)
    straight.iterations_per_epoch = iterations
    straight.train(1, 4)
    expected = outcome(straight)

    first = build(make_trainer, pairs, workers)
    first.iterations_per_epoch = iterations
    first.best = {"epoch": 1, "recall_at_1": np.float64(0.5)}
    first.end_of_epoch_hook = lambda t: save_training_state(
        tmp_path / "last.pt", t, t.epoch, extra={"recipe": [1, "a"]}
    )
    first.train(1, 2)

    resumed = build(make_trainer, pairs, workers)
    resumed.models["trunk"].query[0].weight.data.zero_()
    seed_everything(99)  # a fresh process would have other states too
    resumed.iterations_per_epoch = iterations
    state = load_training_state(tmp_path / "last.pt", resumed)
    assert state["epoch"] == resumed.epoch == 2 and state["extra"] == {"recipe": [1, "a"]}
    assert resumed.best == {"epoch": 1, "recall_at_1": 0.5}
    resumed.train(state["epoch"] + 1, 4)
    torch.testing.assert_close(outcome(resumed), expected, rtol=0, atol=0)


def test_saving_does_not_disturb_the_training(make_trainer, pairs, tmp_path):
    plain = build(make_trainer, pairs, 0)
    plain.train(1, 2)
    expected = outcome(plain)
    saving = build(make_trainer, pairs, 0)
    saving.end_of_epoch_hook = lambda t: save_training_state(tmp_path / "last.pt", t, t.epoch)
    saving.train(1, 2)
    torch.testing.assert_close(outcome(saving), expected, rtol=0, atol=0)
    assert saving.last_checkpoint == tmp_path / "last.pt"


def test_other_seed_or_data_is_refused(make_trainer, pairs, tmp_path):
    trainer = build(make_trainer, pairs, 0)
    trainer.train()
    save_training_state(tmp_path / "last.pt", trainer, 1)
    with pytest.raises(CheckpointError, match="seed 3, this run has 4.*Resume with the recipe"):
        load_training_state(tmp_path / "last.pt", build(make_trainer, pairs, 0, seed=4))
    other = build(make_trainer, pairs, 0)
    other.dataset = pairs(18)
    with pytest.raises(CheckpointError, match="pairs 24, this run has 18"):
        load_training_state(tmp_path / "last.pt", other)


@pytest.mark.parametrize("workers, iterations", [(0, None), (2, 3), (0, 9)])
@pytest.mark.parametrize("step", [1, 2, "last", "hook"])
def test_a_stop_in_the_midst_of_an_epoch_changes_nothing(make_trainer, pairs, tmp_path, workers, iterations, step):
    straight = build(make_trainer, pairs, workers)
    straight.iterations_per_epoch = iterations
    straight.train(1, 3)
    expected = outcome(straight)

    first = build(make_trainer, pairs, workers)
    first.iterations_per_epoch = iterations
    steps = 4 if iterations is None else iterations

    def stop_in_step(trainer):
        assert trainer.in_steps
        trainer.stop_requested = trainer.epoch == 2 and trainer.iteration + 1 == (steps if step == "last" else step)

    def stop_in_hook(trainer):
        assert not trainer.in_steps
        if step == "hook" and trainer.epoch == 2:
            raise Stopped

    first.end_of_iteration_hook, first.end_of_epoch_hook = stop_in_step, stop_in_hook
    with pytest.raises(Stopped):
        first.train(1, 3)
    assert first.epoch == 2 and first.steps_done == (steps if step in ("last", "hook") else step)
    save_training_state(tmp_path / "last.pt", first, 1)

    resumed = build(make_trainer, pairs, workers)
    seed_everything(99)
    resumed.iterations_per_epoch = iterations
    assert load_training_state(tmp_path / "last.pt", resumed)["epoch"] == 1
    epochs = []
    resumed.end_of_epoch_hook = lambda trainer: epochs.append((trainer.epoch, trainer.epoch_losses))
    resumed.train(2, 3)
    assert [epoch for epoch, _ in epochs] == [2, 3]
    torch.testing.assert_close(outcome(resumed), expected, rtol=0, atol=0)
