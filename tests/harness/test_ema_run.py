"""A run with `--optim.ema`: what it measures and saves is the average, and it goes on from any step."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.trainers.checkpoint import read_training_state
from geodtr_plugin.trainers.epoch_loop import Stopped
from geodtr_plugin.utils.errors import UserError

pytestmark = pytest.mark.slow

SMALL = "--data.count 16 --workers 0 --threads 1 --device cpu --evaluation.examples 0".split()
WORDS = ["--method", "simple", "--train", "synth-suburb", *SMALL, "--batch-size", "4", "--epochs", "2"]
EMA = ["--optim.ema", "0.5", "--evaluation.every", "1"]


def results_of(folder) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ema") / "run"
    assert run_command([*WORDS, *EMA, "--out", str(folder)]) == 0
    return folder


def test_the_average_is_what_is_saved_and_measured(straight, tmp_path):
    state = read_training_state(straight / "last.ckpt")["states"]
    saved = load_file(straight / "last.safetensors")
    assert all(torch.equal(saved[name], tensor) for name, tensor in state["average"]["model"].items())
    assert any(not torch.equal(saved[name], tensor) for name, tensor in state["models.trunk"].items())
    assert state["average"]["updates"] == 8
    words = ["--method", "simple", "--test", "synth-suburb", *SMALL, "--epochs", "0", "--out", str(tmp_path / "again")]
    assert run_command([*words, "--init-weights", str(straight)]) == 0
    again, first = (results_of(folder)["tests"]["synth-suburb"]["last"] for folder in (tmp_path / "again", straight))
    assert again == first


def test_the_training_draws_and_steps_as_without_it(straight, tmp_path):
    assert run_command([*WORDS, "--out", str(tmp_path / "plain")]) == 0
    plain, averaged = (read_training_state(folder / "last.ckpt")["states"]["models.trunk"]
                       for folder in (tmp_path / "plain", straight))  # fmt: skip
    assert all(torch.equal(averaged[name], tensor) for name, tensor in plain.items())


def test_it_goes_on_within_an_epoch_bit_for_bit(straight, tmp_path, monkeypatch):
    from geodtr_plugin.trainers.ema import WeightAverage

    update = WeightAverage.update

    def stop_at_six(average, model):
        update(average, model)
        if average.updates == 6:
            monkeypatch.setattr("geodtr_plugin.trainers.epoch_loop.EpochLoop.stop_if_requested", stop_here)

    def stop_here(trainer, all_meet):
        trainer.steps_done = trainer.iteration + 1
        raise Stopped(agreed=True)

    monkeypatch.setattr(WeightAverage, "update", stop_at_six)
    assert run_command([*WORDS, *EMA, "--out", str(tmp_path / "cut")]) == 130
    monkeypatch.undo()
    assert read_training_state(tmp_path / "cut/last.ckpt")["position"]["steps_done"] == 2
    assert run_command(["--resume", str(tmp_path / "cut")]) == 0
    for file in ("last.safetensors", "best.safetensors"):
        expected, found = load_file(straight / file), load_file(tmp_path / "cut" / file)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items()), file
    assert results_of(tmp_path / "cut")["tests"] == results_of(straight)["tests"]


@pytest.mark.parametrize("value", ["-0.1", "1", "1.5", ".nan"])
def test_a_decay_that_is_none_is_refused(value):
    with pytest.raises(UserError, match="--optim.ema is"):
        settings(f"--train synth-suburb --optim.ema {value}")


@pytest.mark.parametrize("value", ["0", "null"])
def test_zero_is_without(value):
    assert settings(f"--train synth-suburb --optim.ema {value}").recipe.optim.ema is None
