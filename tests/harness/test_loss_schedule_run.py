"""A loss whose arguments change over the epochs of a run, also of one that is stopped and goes on."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.options import parse_run
from geodtr_plugin.losses import SoftMarginTripletLoss
from geodtr_plugin.trainers.epoch_loop import EpochLoop, Stopped
from geodtr_plugin.utils.errors import UserError

SCHEDULE = "[[0, 1.0], [1, 0.5], [3, 0.05]]"
WORDS = [
    "--method", "simple", "--train", "synth-suburb", "--epochs", "4", "--loss.schedule.hard_ratio", SCHEDULE,
    *"--data.count 32 --batch-size 16 --workers 0 --threads 1 --device cpu --evaluation.every 0".split(),
]  # fmt: skip


def test_it_can_be_set_and_survives_a_file(tmp_path):
    expected = {"hard_ratio": [[0, 1.0], [1, 0.5], [3, 0.05]]}
    for words in (["--loss.schedule.hard_ratio", SCHEDULE], ["--loss.schedule", json.dumps(expected)]):
        config, text = parse_run(["--train", "synth-suburb", *words])
        assert config.recipe.loss.schedule == expected
        (tmp_path / "recipe.yaml").write_text(text)
        assert parse_run(["--config", str(tmp_path / "recipe.yaml")])[0] == config
    assert settings("--train synth-suburb").recipe.loss.schedule == {}


def test_it_goes_where_another_loss_is_named():
    from geodtr_plugin.methods import METHODS

    own = METHODS["simple"]
    recipe = own.recipes["laptop"].replace(loss=dict(schedule={"hard_ratio": [[0, 0.5]]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(own.recipes, "laptop", recipe)
        words = "--method simple --train synth-suburb"
        assert settings(words).recipe.loss.schedule and not settings(f"{words} --loss info_nce").recipe.loss.schedule


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--loss.schedule.hard_ratio 0.5", "--loss.schedule.hard_ratio"),
        ("--loss.schedule.hard_ratio [[2,0.5],[1,0.1]]", r"epochs \[2, 1\], which must rise"),
        ("--loss.schedule 0.5", "schedule"),
    ],
)
def test_what_is_no_schedule_is_answered(words, sentence):
    with pytest.raises(UserError, match=sentence):
        settings(f"--train synth-suburb {words}")


@pytest.mark.slow
def test_a_value_out_of_range_ends_before_any_data_are_read(tmp_path, capsys):
    words = [*WORDS[:-1], "0", "--loss.schedule.hard_ratio", "[[3, 1.5]]", "--out", str(tmp_path / "run")]
    assert run_command(words) == 1
    assert "hard_ratio must be above 0 and at most 1, not 1.5" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stop_within_an_epoch_changes_nothing(tmp_path, monkeypatch):
    seen: list[float] = []
    compute = SoftMarginTripletLoss.compute_loss

    def recorded(loss, *args):
        seen.append(loss.hard_ratio)
        return compute(loss, *args)

    monkeypatch.setattr(SoftMarginTripletLoss, "compute_loss", recorded)
    assert run_command([*WORDS, "--out", str(tmp_path / "straight")]) == 0
    assert seen == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.05, 0.05]  # two steps an epoch

    def stop_in_the_third(trainer, all_meet):
        if trainer.epoch == 3:
            trainer.steps_done = 1
            raise Stopped(agreed=True)

    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(EpochLoop, "stop_if_requested", stop_in_the_third)
        assert run_command([*WORDS, "--out", str(tmp_path / "cut")]) == 130
    assert run_command(["--resume", str(tmp_path / "cut")]) == 0
    assert seen == [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.05, 0.05]
    expected, found = (load_file(tmp_path / folder / "last.safetensors") for folder in ("straight", "cut"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    log = (tmp_path / "cut/log.txt").read_text()
    assert [line for line in log.splitlines() if "of the loss is" in line] == [
        "epoch 1: hard_ratio of the loss is 1", "epoch 2: hard_ratio of the loss is 0.5",
        "epoch 3: hard_ratio of the loss is 0.5", "epoch 4: hard_ratio of the loss is 0.05",
    ]  # fmt: skip
