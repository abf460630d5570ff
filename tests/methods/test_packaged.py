"""Models that come with the package: found by name, built as they were trained, refused where something is wrong."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from geodtr_plugin import create_model
from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.commands.models import models_command
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.initial_weights import find_initial_weights
from geodtr_plugin.methods import METHODS, packaged, transforms_of
from geodtr_plugin.utils.digest import sha256_of
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.files import write_safetensors

NAME = "dwarf"
OPTIONS = METHODS["geodtr_plus"].recipes["laptop"].model


def write_packaged(folder) -> torch.nn.Module:
    """Write an untrained model as `geodtr export` does, with the settings of a run on the worlds."""
    torch.manual_seed(4)
    model = create_model("geodtr_plus", **OPTIONS).eval()
    write_safetensors(folder / "model.safetensors", model.state_dict())
    run = settings("--train synth-suburb --data.count 8 --limit 8").to_dict() | {"data": {}, "limit": None}
    views = {role: dict(height=32, width=88, polar=role == "reference") for role in ("query", "reference")}
    config = {
        "package": "geodtr_plugin", "model": model.config, "views": views, "run": run, "weights": "last",
        "normalisation": {"mean": list(model.mean), "std": list(model.std)}, "training": {"train": "synth-suburb"},
        "sha256": sha256_of(folder / "model.safetensors"),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    (folder / NAME).mkdir()
    return folder, write_packaged(folder / NAME)


@pytest.fixture
def model(written, monkeypatch):
    """The model in the package, whose weights lie elsewhere for the time of a test."""
    monkeypatch.setattr(packaged, "FOLDER", written[0])
    return written[1]


@pytest.fixture
def changeable(written, model, tmp_path, monkeypatch):
    """A copy of its folder, to be changed."""
    shutil.copytree(written[0], tmp_path / "weights")
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "weights")
    return tmp_path / "weights" / NAME


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def test_a_name_is_a_model(model, tmp_path, monkeypatch):
    for loaded in (create_model("geodtr_plus", pretrained=NAME), create_model(NAME)):
        assert same(loaded, model) and not loaded.training and loaded.query_size == (32, 88)
    assert transforms_of(NAME)["query"].image.height == 32
    (tmp_path / NAME).mkdir()
    monkeypatch.chdir(tmp_path)
    assert same(create_model(NAME), model), "the name goes before a folder"
    with pytest.raises(UserError, match="holds no config.json"):
        create_model(f"./{NAME}")


def test_arguments_may_repeat_what_it_was_built_with_and_not_contradict_it(model):
    again = create_model(
        "geodtr_plus", pretrained=NAME, query_size=(32, 88), reference_size=[32, 88], polar=True, backbone="tiny",
        descriptors=8, dropout=0.0,
    )  # fmt: skip
    assert same(again, model)
    for other in (dict(query_size=(64, 176)), dict(polar=False), dict(descriptors=4), dict(backbone="resnet18")):
        with pytest.raises(UserError, match=f"{NAME} has other settings than {next(iter(other))}"):
            create_model("geodtr_plus", pretrained=NAME, **other)
    with pytest.raises(UserError, match="There is no option of geodtr_plus 'descriptor'"):
        create_model("geodtr_plus", pretrained=NAME, descriptor=4)


def test_other_names_and_methods_are_refused(model, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="There is no model in the package named 'dwarv'. Did you mean 'dwarf'"):
        create_model("geodtr_plus", pretrained="dwarv")
    with pytest.raises(UserError, match="weights of geodtr_plus, not of netvlad"):
        create_model("netvlad", pretrained=NAME)
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    with pytest.raises(UserError, match="holds no weights, 'worlds' among them. Install .* benchmarks/pretrain.py"):
        create_model("geodtr_plus", pretrained="worlds")


@pytest.mark.parametrize("fault", ["bit", "short", "gone", "config"])
def test_damage_is_a_sentence_with_the_remedy(changeable, fault):
    file = changeable / "model.safetensors"
    content = bytearray(file.read_bytes())
    if fault == "bit":
        content[len(content) // 2] ^= 1
    file.write_bytes(content[: len(content) // 2] if fault == "short" else content)
    if fault == "gone":
        file.unlink()
    if fault == "config":
        (changeable / "config.json").write_text("{", encoding="utf-8")
    said = {"gone": "holds no weights", "config": "config.json cannot be read"}.get(fault, "is damaged: its SHA-256")
    with pytest.raises(UserError, match=f"{said}.*Install geodtr_plugin again"):
        create_model("geodtr_plus", pretrained=NAME)
    if fault == "gone":
        with pytest.raises(UserError, match="Install geodtr_plugin again"):
            find_initial_weights(NAME)


def test_a_run_starts_from_it_with_its_settings(model):
    config = settings(f"--epochs 0 --init-weights {NAME} --test synth-suburb")
    assert config.recipe == METHODS["geodtr_plus"].recipes["laptop"].replace(optim=dict(epochs=0))
    assert config.init_weights == NAME, "no path of this machine"
    facts = find_initial_weights(NAME)
    assert (facts.train, facts.epoch, facts.chosen) == (("synth-suburb",), 10, "after the last epoch")


@pytest.mark.slow
def test_evaluating_it_tells_same_area_from_cross_area(model, tmp_path, capsys):
    words = "--epochs 0 --test synth-suburb synth-downtown --data.count 8 --workers 0 --threads 1 --device cpu"
    assert run_command([*words.split(), "--init-weights", NAME, "--out", str(tmp_path / "run")]) == 0
    tests = json.loads((tmp_path / "run/results.json").read_text(encoding="utf-8"))["tests"]
    assert [entry["kind"] for entry in tests.values()] == ["same area", "cross area"]
    assert "trained on rendered worlds (synth-suburb)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_refuses_another_network_and_a_model_in_place_of_a_trunk(model, tmp_path, capsys):
    words = "--epochs 0 --test synth-suburb --data.count 8 --workers 0 --threads 1 --device cpu".split()
    other = ["--init-weights", NAME, "--model.descriptors", "4", "--out", str(tmp_path / "one")]
    assert run_command([*words, *other]) == 1
    assert "other shapes than the model" in (error := capsys.readouterr().err) and "Leave out --recipe" in error
    assert run_command([*words, "--allow-untrained", "--model.pretrained", NAME, "--out", str(tmp_path / "two")]) == 1
    assert f"Start from it with --init-weights {NAME}" in capsys.readouterr().err


def test_an_index_is_built_and_searched_without_any_training(model, tmp_path, capsys):
    draw = np.random.default_rng(0)
    for number in range(4):
        tile = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((64, 64))
        (tmp_path / "tiles").mkdir(exist_ok=True)
        tile.save(tmp_path / f"tiles/{number}.png")
    build = ["build", "--references", str(tmp_path / "tiles"), "-o", str(tmp_path / "index"), "--device", "cpu"]
    assert index_command([*build, "--model", NAME]) == 0
    assert json.loads((tmp_path / "index/manifest.json").read_text(encoding="utf-8"))["run"]["folder"] == NAME
    assert locate_command(["--index", str(tmp_path / "index"), str(tmp_path / "tiles/2.png"), "--device", "cpu"]) == 0
    capsys.readouterr()
    for words, said in (([], "Name one model"), (["--model", NAME, "--run", "x"], "Name one model"),
                        (["--model", "worldz"], "no model in the package named 'worldz'")):  # fmt: skip
        assert index_command([*build, *words]) == 1
        assert said in capsys.readouterr().err


def test_the_list_of_methods_mentions_it(model, capsys):
    assert models_command(["geodtr_plus"]) == 0
    assert f"weights in the package: {NAME} (trained on rendered worlds (synth-suburb))" in capsys.readouterr().out
    assert models_command(["simple"]) == 0
    assert NAME not in capsys.readouterr().out
