"""Runs with CDE: what is refused, what goes with its generator, and resuming bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.checks import check_recipe
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.utils.errors import UserError

DATA = "--train synth-suburb --test synth-suburb --data.count 16 --workers 0 --threads 1 --device cpu"
SIZES = "--model.query_size [24,48] --model.width 2 --model.discriminator_width 4"
SMALL = f"--method cde {DATA} {SIZES} --batch-size 8 --epochs 2"


@pytest.mark.parametrize("words", ["--micro-batch 4", "--optim.sharpness 0.5", "--optim.compile true"])
def test_what_does_not_go_with_turns_is_refused_before_anything_is_loaded(words):
    with pytest.raises(UserError) as caught:
        check_recipe(settings(f"{SMALL} {words}"))
    option = words.split()[0]
    expected = f"cde trains retrieval, discriminator, generator in turns, which cannot be combined with {option}."
    assert caught.value.message == expected and "--model.generator false" in caught.value.remedy
    check_recipe(settings(f"{SMALL} {words} --model.generator false"))


@pytest.mark.parametrize("words, sizes", [("--no-polar", "24x48 and 32x32"), ("--fov 90", "24x12 and 24x48")])
def test_images_of_two_sizes_do_not_go_with_the_generator(words, sizes, tmp_path, capsys):
    assert run_command([*f"{SMALL} {words}".split(), "--out", str(tmp_path / "run")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error:")]
    assert f"these have {sizes}." in line and "--model.generator false" in line
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="cannot be combined with torchrun. Leave that out, or train without"):
        check_recipe(settings(SMALL))
    check_recipe(settings(f"{SMALL} --model.generator false"))


def run(folder, words=""):
    assert run_command([*f"{SMALL} {words}".split(), "--out", str(folder)]) == 0
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_twins_bfloat16_average_bank_and_clipping_go_with_the_generator(tmp_path):
    words = "--chsg l+s --optim.precision bf16 --optim.ema 0.9 --sampler hard --optim.max_grad_norm 1"
    results = run(tmp_path / "run", f"{words} --loss info_nce --optim.freeze discriminator --evaluation.every 0")
    assert results["mark"] == "" and results["recipe"]["augment"]["chsg"] == "l+s"
    losses = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["losses"]
    assert {"discriminator_loss", "generator_loss", "l1_loss"} < set(losses)
    assert np.isfinite([*losses.values()]).all()
    with Image.open(tmp_path / "run" / "made-synth-suburb.png") as sheet:
        assert sheet.width > sheet.height > 300


@pytest.mark.slow
@pytest.mark.parametrize("words", ["", "--model.generator false"])
def test_a_run_that_is_stopped_within_an_epoch_goes_on_bit_for_bit(words, tmp_path, monkeypatch):
    run(tmp_path / "straight", words)
    step = CrossViewTrainer.forward_and_backward

    def stopped(self):
        batch = step(self)
        self.stop_requested = self.epoch == 2 and self.iteration == 0
        return batch

    with monkeypatch.context() as context:
        context.setattr(CrossViewTrainer, "forward_and_backward", stopped)
        assert run_command([*f"{SMALL} {words}".split(), "--out", str(tmp_path / "broken")]) == 130
    assert run_command(["--resume", str(tmp_path / "broken")]) == 0
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("straight", "broken"))
    assert one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    epochs = [
        [json.loads(line)["losses"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("straight", "broken")
    ]
    assert epochs[0] == epochs[1] and len(epochs[0]) == 2
    made = [(tmp_path / name / "made-synth-suburb.png").exists() for name in ("straight", "broken")]
    assert made == [not words] * 2
    results = json.loads((tmp_path / "broken" / "results.json").read_text())
    assert results["mark"] == ("without generator" if words else "")
