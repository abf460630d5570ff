"""A run of the real command with a frozen trunk, a slower one, and few training pairs."""

from __future__ import annotations

import json

import pytest
import torch

from geodtr_plugin.harness import run, settings
from geodtr_plugin.methods.weights_file import read_tensors
from geodtr_plugin.utils.errors import UserError

WORLD = "--method geodtr_plus --train synth-suburb --data.count 24 --batch-size 8 --workers 0 --threads 1 --device cpu"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Weights of a run that trained everything."""
    folder = tmp_path_factory.mktemp("start") / "run"
    run(settings(f"{WORLD} --epochs 1 --evaluation.examples 0 --out {folder}"))
    return folder


def fine_tuned(start, folder, *words: str):
    run(settings(f"{WORLD} --epochs 2 --init-weights {start} --out {folder} {' '.join(words)}"))
    return read_tensors(folder / "last.safetensors"), json.loads((folder / "results.json").read_text())


@pytest.mark.slow
def test_a_frozen_trunk_is_that_of_the_initial_weights(start, tmp_path):
    before = read_tensors(start / "last.safetensors")
    after, results = fine_tuned(start, tmp_path / "run", "--optim.freeze", "trunk", "--evaluation.examples", "0")
    for name, tensor in after.items():
        same = torch.equal(tensor, before[name])
        assert same or ".trunk." not in name, name
    assert not torch.equal(after["query_tower.layout.position"], before["query_tower.layout.position"])
    assert results["trained_parameters"] < results["parameters"]
    assert results["recipe"]["optim"]["freeze"] == "trunk"


@pytest.mark.slow
def test_few_training_pairs_and_whole_tests(start, tmp_path):
    _, results = fine_tuned(start, tmp_path / "run", "--train-limit", "10", "--optim.trunk_lr_scale", "0.1",
                            "--evaluation.examples", "0")  # fmt: skip
    assert results["train_data"]["pairs"] == 10
    assert results["tests"]["synth-suburb"]["last"]["num_references"] == 24


@pytest.mark.parametrize(
    ("words", "what"),
    [("--optim.freeze trnk", "No parameter of the network is a part of 'trnk'"),
     ("--train-limit 1", "--train-limit is 1; a batch needs"), ("--train-limit 0", "--train_limit is 0")],
)  # fmt: skip
def test_what_means_nothing_is_refused(words, what, tmp_path):
    with pytest.raises(UserError, match=what):
        run(settings(f"{WORLD} --epochs 1 {words} --out {tmp_path / 'run'}"))
