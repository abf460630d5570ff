"""A run has the objectives that its recipe gives a weight and its data can feed; two stages resume bit for bit."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import build_image_transforms, build_model, build_trainer
from geodtr_plugin.harness.data import load_splits
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.utils.errors import UnknownNameError, UserError

WORDS = "--method vigor --recipe laptop_offset_stage2 --data.count 24 --batch-size 4 --workers 0 --device cpu"


def trainer_of(train, words=""):
    config = settings(f"{WORDS} --train {train} {words}")
    model, split = build_model(config), load_splits(config)[0]
    return build_trainer(config, model, build_image_transforms(config, model), split, torch.device("cpu"))


def test_objectives_that_the_data_feed_are_there_with_their_weights():
    trainer = trainer_of("synth-suburb-offset", "--loss.objectives.overlap 0.25")
    assert trainer.loss_weights["overlap"] == 0.25 and trainer.loss_weights["offset"] == 1
    assert set(trainer.dataset[0][3]) == {"offset", "semi_positive", "semi_positive_offset"}
    assert all(p.requires_grad for p in trainer.models["trunk"].parameters())


def test_those_that_the_data_cannot_feed_are_left_out_with_a_line_each(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("geodtr_plugin"), "propagate", True)  # a run turns it off
    with caplog.at_level(logging.INFO, "geodtr_plugin"):
        trainer = trainer_of("synth-suburb")
    assert "without the objective 'overlap': synth-suburb does not tell offset, semi_positive" in caplog.text
    assert "objective 'offset': synth-suburb does not tell offset; offset_head stays as it is" in caplog.text
    assert set(trainer.loss_funcs) == {"metric_loss"} and len(trainer.dataset[0]) == 3
    model = trainer.models["trunk"]
    assert not any(p.requires_grad for p in model.offset_head.parameters()) and trainer.frozen == ("offset_head",)


def test_a_weight_of_zero_leaves_one_out():
    trainer = trainer_of("synth-suburb-offset", "--loss.objectives.offset 0 --chsg l+s")
    assert set(trainer.loss_funcs) == {"metric_loss", "overlap"}
    assert not any(p.requires_grad for p in trainer.models["trunk"].offset_head.parameters())


def test_what_cannot_be_is_answered_with_a_sentence():
    with pytest.raises(UnknownNameError, match="no objective of vigor 'offsets'. Did you mean 'offset'"):
        trainer_of("synth-suburb-offset", "--loss.objectives.offsets 1")
    with pytest.raises(UserError, match="--loss.objectives.offset is -1"):
        trainer_of("synth-suburb-offset", "--loss.objectives.offset -1")
    with pytest.raises(UserError, match="gradient caching"):
        trainer_of("synth-suburb-offset", "--micro-batch 2")
    with pytest.raises(UserError, match="moves the camera in its tile, which overlap, offset"):
        trainer_of("synth-suburb-offset", "--augment.tiles crop+turn")


STAGES = (
    "--method vigor --train synth-suburb-offset --test synth-suburb-offset --data.count 16 --batch-size 4 --epochs 2 "
    "--evaluation.every 0 --evaluation.examples 0 --chsg l+s --threads 1 --workers 0 --device cpu"
).split()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of both stages without interruption, and the steps that it had done when each epoch began."""
    folder, steps = tmp_path_factory.mktemp("whole") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        step, begin = CrossViewTrainer.embed_and_compute, CrossViewTrainer.begin_epoch
        patch.setattr(CrossViewTrainer, "embed_and_compute", lambda self, batch: steps.append(0) or step(self, batch))
        begun = []
        patch.setattr(CrossViewTrainer, "begin_epoch", lambda self: begun.append(len(steps)) or begin(self))
        assert run_command([*STAGES, "--out", str(folder)]) == 0
    return folder, begun


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 3])  # the second of the first stage, and of the second
def test_an_interrupted_stage_goes_on_bit_for_bit(whole, tmp_path, monkeypatch, epoch):
    (straight, begun), folder, step, seen = whole, tmp_path / "run", CrossViewTrainer.embed_and_compute, []

    def interrupted(self, batch):
        seen.append(self.epoch)
        self.stop_requested = len(seen) == begun[epoch] + 2
        return step(self, batch)

    monkeypatch.setattr(CrossViewTrainer, "embed_and_compute", interrupted)
    assert run_command([*STAGES, "--out", str(folder)]) in (130, 143) and seen[-1] == 2
    monkeypatch.undo()
    assert run_command(["--resume", str(folder)]) == 0
    one, two = (load_file(f / "last.safetensors") for f in (straight, folder))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    lines = [(f / "metrics.jsonl").read_text().splitlines() for f in (straight, folder)]
    losses, again = ([json.loads(line)["losses"] for line in part] for part in lines)
    assert losses == again and {"overlap", "offset"} <= set(losses[0])
