"""A method, a loss, a miner and a sampler of one's own, in one file outside the package, and any loss of PML."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness.runner import Run

OWN = '''
import torch
from torch import nn
from torch.utils.data import BatchSampler, SequentialSampler

from geodtr_plugin import register_method
from geodtr_plugin.losses import FullPrecisionLoss, register_loss
from geodtr_plugin.methods import Loss, Optim, Paper, Recipe, TwoTower
from geodtr_plugin.miners import register_miner
from geodtr_plugin.samplers import register_sampler


class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Identity()
        self.project = nn.Linear(3, 16)

    def forward(self, images):
        return nn.functional.normalize(self.project(self.trunk(images).mean(dim=(2, 3))), dim=1)


@register_method("mean_colour")
class MeanColour(TwoTower):
    """A trick: its bias starts from the training images, and is rounded at the end."""

    paper = Paper(title="An example", venue="here", url="", code="", licence="MIT")
    recipes = {"laptop": Recipe(loss=Loss("pull"), optim=Optim(epochs=2, batch_size=8, lr=0.01))}

    def __init__(self, query_size=(32, 88), reference_size=(32, 88), polar=True):
        super().__init__(query_size, reference_size, polar)
        self.query_tower, self.reference_tower, self.embedding_size = Tower(), Tower(), 16

    def before_training(self, images):
        colours = images(lambda batch: batch.mean(dim=(2, 3)), 8)
        assert colours.shape == (8, 3) and not self.query_tower.project.bias.isnan().any()
        print("BEFORE", flush=True)

    def configure_trainer(self, trainer):
        trainer.max_grad_norm = 0.5
        print("TRAINER", flush=True)

    def after_training(self, images):
        self.query_tower.project.weight.data.zero_()
        self.query_tower.project.bias.data.zero_()
        return True


@register_loss("pull")
class Pull(FullPrecisionLoss):
    """Pull the two images of a place together."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = weight

    def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
        loss = self.weight * (embeddings - ref_emb).square().sum()
        return {"loss": {"losses": loss, "indices": None, "reduction_type": "already_reduced"}}


@register_miner("none_of_them")
def none_of_them():
    return None


@register_sampler("in_order")
def in_order(split, batch_size, seed, skip=0):
    print("SAMPLER", len(split.pairs), skip, flush=True)
    return BatchSampler(SequentialSampler(range(len(split.pairs) - skip)), batch_size, drop_last=True)
'''
DATA = "--train synth-suburb --test synth-suburb --data.count 16 --workers 0 --threads 1 --device cpu".split()


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "own_parts_of_a_test.py"
    file.write_text(OWN, encoding="utf-8")
    return str(file)


def results(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_one_file_brings_a_method_a_loss_a_miner_and_a_sampler(module, tmp_path, capsys):
    words = ["--import", module, "--method", "mean_colour", *DATA, "--miner", "none_of_them", "--sampler", "in_order"]
    args = ["--loss.args.weight", "2", "--sampling.args.skip", "3"]
    assert run_command([*words, *args, "--out", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert "SAMPLER 16 3" in out and "BEFORE" in out and "TRAINER" in out and "no place met by itself" not in out
    recipe = results(tmp_path / "r")["recipe"]
    assert recipe["loss"]["name"] == "pull" and recipe["loss"]["args"] == {"weight": 2}
    assert results(tmp_path / "r")["tests"]["synth-suburb"]["last"]["recall_at_1"] == 0, "after_training has its say"
    assert json.loads((tmp_path / "r" / "config.json").read_text())["run"]["imports"] == [module]
    assert not load_file(tmp_path / "r" / "last.safetensors")["query_tower.project.weight"].any()


def test_a_loss_of_ones_own_goes_with_any_method(module, tmp_path):
    words = ["--import", module, "--method", "simple", *DATA, "--epochs", "1", "--batch-size", "8", "--loss", "pull"]
    assert run_command([*words, "--out", str(tmp_path / "r")]) == 0
    assert results(tmp_path / "r")["recipe"]["loss"]["args"] == {}, "the arguments of another loss are not handed on"


def test_an_interrupted_run_with_parts_of_ones_own_goes_on(module, tmp_path, monkeypatch):
    def interrupted(self, trainer):
        raise KeyboardInterrupt

    words = ["--import", module, "--method", "mean_colour", *DATA, "--out", str(tmp_path / "r")]
    with monkeypatch.context() as context:
        context.setattr(Run, "end_of_epoch", interrupted)
        assert run_command(words) == 130
    assert run_command(["--resume", str(tmp_path / "r"), "--import", module]) == 0


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--loss NTXentLos", "Did you mean 'NTXentLoss'?"),
        ("--loss soft_margn", "Did you mean 'soft_margin'?"),
        ("--loss NTXentLoss --loss.args.temprature 1", "It takes: temperature"),
        ("--loss soft_margin --loss.args.alpha -1", "alpha must be above 0"),
        ("--miner AngularMinr", "Did you mean 'AngularMiner'?"),
        ("--sampler nearest", "There is no sampler 'nearest'"),
        ("--sampler hard --sampling.args.tops 3", "argument of the sampler hard 'tops'"),
        ("--chsg l+t", "Did you mean 'l+s'?"),
        ("--model.descriptor 3", "Did you mean 'descriptors'?"),
        ("--import no_such_module", "--import no_such_module failed"),
        ("--import nothing.py", "--import nothing.py failed"),
    ],
)
def test_unknown_names_are_refused_before_any_data_are_read(words, sentence, tmp_path, capsys):
    place = ["--train", "cvusa", "--data-root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run")]
    assert run_command([*place, *words.split()]) == 1
    error = capsys.readouterr().err
    assert sentence in error and "nowhere" not in error and "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--loss", "NTXentLoss", "--loss.args", '{"temperature": 0.05}'],
        ["--loss", "TripletMarginLoss", "--loss.args", '{"margin": 0.2, "distance": "LpDistance"}'],
        ["--miner", "AngularMiner", "--loss.miner_args", '{"angle": 20}'],
    ],
)
def test_any_loss_and_miner_of_pml_trains_by_its_class_name(words, tmp_path):
    base = ["--method", "geodtr_plus", *DATA, "--epochs", "1", "--batch-size", "8", *words]
    assert run_command([*base, "--out", str(tmp_path / "r")]) == 0
