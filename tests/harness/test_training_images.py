"""What NetVLAD learns outside of training, through the command."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin import load_model
from geodtr_plugin.commands.run import run_command

WORDS = (
    "--method netvlad --train synth-suburb-ground --test synth-suburb-ground --data.count 16 --batch-size 8 --epochs 1 "
    "--workers 0 --threads 1 --device cpu"
).split()


@pytest.mark.slow
def test_clusters_start_from_images_and_the_whitening_is_learned_at_the_end(tmp_path):
    folder = tmp_path / "run"
    assert run_command([*WORDS, "--model.pca", "8", "--out", str(folder)]) == 0
    log = (folder / "log.txt").read_text()
    assert "starts its clusters from up to 500 training images" in log and "learns its whitening to 8 dimensions" in log
    model = load_model(folder, "last.safetensors")
    assert model.embedding_size == 8
    assert model.encode_query(torch.randn(2, 3, *model.query_size)).shape == (2, 8)
    weights, results = load_file(folder / "last.safetensors"), json.loads((folder / "results.json").read_text())
    assert bool(weights["tower.pca.fitted"]) and results["tests"]["synth-suburb-ground"]["last"]["num_queries"] == 16
