"""Which weights a run starts from, how it names them, and what it says of their training."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness.initial_weights import find_initial_weights, split_choice
from geodtr_plugin.utils.errors import UserError

pytestmark = pytest.mark.slow

SMALL = "--data.count 16 --batch-size 8 --workers 0 --threads 1 --device cpu --evaluation.examples 0".split()
TRAIN = ["--method", "simple", "--train", "synth-suburb", "--test", "synth-suburb", *SMALL]


def results_of(folder) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run of three epochs, whose best one is said to be the second."""
    folder = tmp_path_factory.mktemp("weights")
    assert run_command([*TRAIN, "--epochs", "3", "--evaluation.every", "1", "--out", str(folder / "run")]) == 0
    results = results_of(folder / "run")
    for entry in results["tests"].values():
        entry["best"]["epoch"] = 2
    (folder / "run/results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def evaluate(home, source: str, *more: str) -> dict:
    out = home / "evaluated"
    shutil.rmtree(out, ignore_errors=True)
    words = ["--test", "synth-suburb", "synth-downtown", *SMALL, "--epochs", "0", "--method", "simple", *more]
    assert run_command([*words, "--init-weights", source, "--out", str(out)]) == 0
    return results_of(out)


def test_a_run_gives_its_last_weights_and_its_training_set(home, capsys):
    results, trained = evaluate(home, str(home / "run")), results_of(home / "run")
    facts = results["initial_weights"]
    digest = hashlib.sha256((home / "run/last.safetensors").read_bytes()).hexdigest()
    assert facts == {
        "file": str(home / "run/last.safetensors"), "sha256": digest, "method": "simple", "train": ["synth-suburb"],
        "epoch": 3, "chosen": "after the last epoch",
    }  # fmt: skip
    assert [entry["kind"] for entry in results["tests"].values()] == ["same area", "cross area"]
    assert results["tests"]["synth-suburb"]["last"] == trained["tests"]["synth-suburb"]["last"]
    out = capsys.readouterr().out
    assert "last.safetensors, epoch 3 (after the last epoch), trained on rendered worlds (synth-suburb)" in out
    assert "In percent, after the last epoch" not in out
    assert "recipe laptop, seed 0" in out


def test_the_best_ones_must_be_asked_for_and_say_how_they_were_chosen(home, capsys):
    facts = evaluate(home, f"{home / 'run'}:best")["initial_weights"]
    assert facts["file"].endswith("best.safetensors") and facts["epoch"] == 2
    assert facts["chosen"].startswith("best R@1 on synth-suburb (a test set")


def test_what_is_not_known_is_said_as_unknown(home, tmp_path, capsys):
    shutil.copy(home / "run/last.safetensors", tmp_path / "found.safetensors")
    results = evaluate(home, str(tmp_path / "found.safetensors"), "--recipe", "laptop")
    assert results["initial_weights"]["train"] is None and results["initial_weights"]["chosen"] is None
    assert {entry["kind"] for entry in results["tests"].values()} == {"area unknown"}
    assert "trained on what is not known" in capsys.readouterr().out


def test_weights_that_are_not_there_are_a_sentence(home, tmp_path):
    unfinished = tmp_path / "unfinished"
    shutil.copytree(home / "run", unfinished)
    (unfinished / "last.safetensors").unlink()
    with pytest.raises(UserError, match="holds no last.safetensors. Resume the run to its end, or name .*:best"):
        find_initial_weights(str(unfinished))
    with pytest.raises(UserError, match="There is no weights file"):
        find_initial_weights(str(tmp_path / "nothing.pth"))
    assert split_choice("C:/run")[1] == "last" and split_choice("run:best")[1] == "best"


def test_a_resumed_run_needs_the_first_weights_no_more(home, tmp_path):
    shutil.copytree(home / "run", tmp_path / "first")
    words = [*TRAIN, "--epochs", "2", "--init-weights", str(tmp_path / "first"), "--out", str(tmp_path / "second")]
    assert run_command(words) == 0
    before, scores = load_file(tmp_path / "second/last.safetensors"), results_of(tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "second/results.json").unlink()
    assert run_command(["--resume", str(tmp_path / "second")]) == 0
    after = load_file(tmp_path / "second/last.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert results_of(tmp_path / "second")["initial_weights"] == scores["initial_weights"]
    assert scores["initial_weights"]["train"] == ["synth-suburb"]
