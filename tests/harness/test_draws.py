"""The weights that training ends with depend on the seed, and not on what is cached, checked or measured beside it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command

pytestmark = pytest.mark.slow
WORDS = (
    "--method geodtr_plus --train synth-suburb --data.count 16 --batch-size 8 --epochs 2 --device cpu --workers 0 "
    "--threads 1 --evaluation.every 0"
).split()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert run_command([*WORDS, "--out", str(folder)]) == 0
    return load_file(folder / "last.safetensors")


@pytest.mark.parametrize(
    "words",
    [
        "--evaluation.every 1 --test synth-suburb synth-downtown",
        "--skip-corrupt --workers 1",
    ],
)
def test_what_is_measured_and_checked_changes_no_weight(plain, tmp_path, words):
    assert run_command([*WORDS, *words.split(), "--out", str(tmp_path / "run")]) == 0
    weights = load_file(tmp_path / "run" / "last.safetensors")
    assert all(torch.equal(tensor, plain[name]) for name, tensor in weights.items())


def test_a_cache_that_is_made_and_one_that_is_found_change_no_weight(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("GEODTR_CACHE", str(tmp_path / "cache"))
    for name in ("made", "found"):
        assert run_command([*WORDS, "--cache", "--out", str(tmp_path / name)]) == 0
        weights = load_file(tmp_path / name / "last.safetensors")
        assert all(torch.equal(tensor, plain[key]) for key, tensor in weights.items())


def test_another_seed_changes_them(plain, tmp_path):
    assert run_command([*WORDS, "--seed", "1", "--out", str(tmp_path / "run")]) == 0
    weights = load_file(tmp_path / "run" / "last.safetensors")
    assert not all(torch.equal(tensor, plain[name]) for name, tensor in weights.items())
