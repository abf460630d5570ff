"""Every option of training goes with every method, or is refused with a sentence."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.runner import Run
from geodtr_plugin.methods import METHODS

DATA = "--train synth-suburb --test synth-suburb --data.count 16".split()
SMALL = [*DATA, *"--batch-size 8 --epochs 1 --workers 0 --threads 1 --device cpu".split()]
NAMES = [name for name in METHODS if METHODS[name].__module__.startswith("geodtr_plugin.")]

PHOTOGRAPHS = ("haf", "netvlad")  # their references are no squares, which layouts turn


def trained(folder, method: str, words: str) -> dict:
    """What results.json of a run says."""
    out = folder / "run"
    assert run_command(["--method", method, *SMALL, "--out", str(out), *words.split()]) == 0
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("method", NAMES)
def test_chsg_layouts_colours_loss_sampler_and_field_of_view_go_with_every_method(method, tmp_path):
    words = "--chsg l+s --layout weak --semantic weak --loss info_nce --sampler geo --fov 270"
    sizes = METHODS[method].recipes["laptop"].model
    if method in PHOTOGRAPHS:
        words += f" --model.reference_size [{sizes['query_size'][0]},{sizes['query_size'][0]}]"
    if method == "cde":  # what its generator paints is a whole panorama
        words += " --model.generator false"
    if method == "dsm":  # to which twins that differ by a turn are alike, unless headings are known
        words += " --view.heading fixed"
    results = trained(tmp_path, method, words)
    recipe = results["recipe"]
    assert (recipe["augment"]["chsg"], recipe["augment"]["layout"]) == ("l+s", "weak")
    assert (recipe["loss"]["name"], recipe["sampling"]["name"], recipe["view"]["fov"]) == ("info_nce", "geo", 270)
    height, width = METHODS[method].recipes["laptop"].model["query_size"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["query_size"] == [height, 3 * width // 4]
    assert config["views"]["query"]["panorama_width"] == width


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "--loss info_nce --miner semihard --loss.learn_temperature false",
        "--loss triplet --miner batch_hard --fov 90 --view.heading fixed",
        "--loss contrastive --miner semihard --semantic cutout --backbone resnet10t --model.feedforward 64",
        "--loss multi_similarity --sampler similar --sampling.every 1 --epochs 2 --chsg raw",
        "--loss circle --miner twin+all --no-polar",
        "--miner twin --sampler hard --view.turned always --headings 3 --epochs 3 --optim.sharpness 0.5",
        "--sampler geo+similar --sampling.every 1 --epochs 3 --chsg ls --optim.schedule_step step",
        "--optim.name adam --optim.schedule constant --optim.max_grad_value 0.1 --semantic none --layout none --chsg l",
    ],
)
def test_every_choice_trains(words, tmp_path):
    results = trained(tmp_path, "geodtr_plus", words)
    assert results["tests"]["synth-suburb"]["last"]["num_queries"] == 16


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--miner twin --chsg ls", "--chsg l+s"),
        ("--loss soft_margn", "Did you mean 'soft_margin'"),
        ("--miner hardest", "miner"),
        ("--sampler near", "sampler 'near'"),
        ("--fov 400", "at most 360"),
        ("--headings -1", "--view.headings is -1"),
        ("--headings 999", "more than the 88 columns"),
        ("--method simple --loss.counterfactual 1", "no counterfactual branch"),
        ("--method transgeo --polar", "polar"),
        ("--backbone resnet999", "resnet"),
        ("--method netvlad --chsg l+s", "--model.reference_size [48,48]"),
    ],
)
def test_impossible_crossings_are_refused(words, sentence, tmp_path, capsys):
    method = [] if "--method" in words else ["--method", "geodtr_plus"]
    assert run_command([*method, *SMALL, "--out", str(tmp_path / "run"), *words.split()]) == 1
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("Error:")]
    assert sentence in line and "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words", ["--loss info_nce", "--loss=info_nce", "--loss.name info_nce", """--loss '{"name": "info_nce"}'"""]
)
def test_a_loss_is_named_in_every_spelling(words):
    assert settings(f"--train synth-suburb {words}").recipe.loss.name == "info_nce"
    assert settings("--train synth-suburb --loss.alpha 3").recipe.loss.args["alpha"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "--sampler hard --optim.sharpness 0.5 --loss info_nce",
        "--sampler similar --sampling.every 1 --view.turned always --headings 2",
        "--method oricnn --model.width 4 --augment.tiles crop+turn --augment.panoramas roll --micro-batch 4",
    ],
)
def test_samplers_two_pass_optimizers_and_images_that_move_resume_exactly(words, tmp_path, monkeypatch):
    words = [*SMALL, "--epochs", "3", *words.split()]
    assert run_command([*words, "--out", str(tmp_path / "straight")]) == 0
    whole = Run.end_of_epoch

    def interrupted(self, trainer):
        whole(self, trainer)
        if trainer.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "end_of_epoch", interrupted)
    assert run_command([*words, "--out", str(tmp_path / "broken")]) == 130
    monkeypatch.setattr(Run, "end_of_epoch", whole)
    assert run_command(["--resume", str(tmp_path / "broken")]) == 0
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("straight", "broken"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
