"""A method of two stages is one run: the second goes on from the last weights of the first."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin import load_model
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.runner import Run

pytestmark = pytest.mark.slow

WORDS = (
    "--method transgeo --train synth-suburb --test synth-suburb --data.count 16 --batch-size 8 --epochs 1 --workers 0 "
    "--threads 1 --device cpu"
).split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages") / "run"
    assert run_command([*WORDS, "--out", str(folder)]) == 0
    return folder


def test_what_the_command_line_says_holds_for_both_stages():
    config = settings(" ".join([*WORDS, "--lr 3e-4 --chsg ls"]))
    ((name, second),) = config.later_stages
    assert (config.recipe_name, name) == ("laptop", "laptop_stage2")
    assert second.model["stage"] == 2 and second.optim.epochs == 1 and second.augment.chsg == "ls"
    assert config.recipe.optim.lr == second.optim.lr == 3e-4


def test_the_second_stage_can_be_trained_by_itself(trained):
    config = settings(" ".join([*WORDS, "--recipe laptop_stage2", "--init-weights", str(trained / "stage-1")]))
    assert config.recipe.model["stage"] == 2 and config.later_stages == ()


def test_there_are_no_stages_without_training():
    assert settings("--method transgeo --train synth-suburb --epochs 0 --allow-untrained").later_stages == ()


def test_the_second_stage_starts_from_the_first(trained):
    first, second = (json.loads((f / "results.json").read_text()) for f in (trained / "stage-1", trained))
    assert first["recipe"]["model"].get("stage", 1) == 1 and second["recipe"]["model"]["stage"] == 2
    run = json.loads((trained / "config.json").read_text())["run"]
    assert run["init_weights"] == str(trained / "stage-1" / "last.safetensors")
    guide = load_model(trained, "last.safetensors").reference_tower.guide.state_dict()
    weights = load_file(trained / "stage-1" / "last.safetensors")
    kept = [name for name in guide if f"reference_tower.{name}" in weights]
    assert kept and all(torch.equal(guide[name], weights[f"reference_tower.{name}"]) for name in kept)


@pytest.mark.parametrize("stage", [1, 2])
def test_an_interrupted_stage_goes_on(trained, tmp_path, monkeypatch, stage):
    folder, whole, calls = tmp_path / "run", Run.end_of_epoch, []

    def interrupted(self, trainer):
        calls.append(trainer)
        if len(calls) == stage:
            raise KeyboardInterrupt
        whole(self, trainer)

    monkeypatch.setattr(Run, "end_of_epoch", interrupted)
    assert run_command([*WORDS, "--out", str(folder)]) == 130
    log = (folder / "stage-1" / "log.txt" if stage == 1 else folder / "log.txt").read_text()
    assert f"--resume {folder}\n" in log
    monkeypatch.setattr(Run, "end_of_epoch", whole)
    assert run_command(["--resume", str(folder)]) == 0
    one, two = (load_file(f / "last.safetensors") for f in (trained, folder))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_a_folder_with_stages_is_not_overwritten(trained, capsys):
    assert run_command([*WORDS, "--out", str(trained)]) == 1
    assert "already holds a run" in capsys.readouterr().err
