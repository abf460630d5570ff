"""Images reach a trunk as its weights were trained on them, and a trained model as it was trained itself."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from geodtr_plugin import create_model, load_model
from geodtr_plugin.augmentations import IMAGENET_MEAN, IMAGENET_STD, ImageTransform
from geodtr_plugin.harness import run as run_harness
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.launch import resume
from geodtr_plugin.layers import build_trunk
from geodtr_plugin.methods import METHODS, transforms_of
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.utils.errors import UserError

HALF = (0.5, 0.5, 0.5)
IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
LAPTOP = METHODS["simple"].recipes["laptop"].model
ROLES = ("query", "reference")


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, backbone, expected",
    [("simple", "tiny", IMAGENET), ("simple", "resnet18", IMAGENET), ("geodtr", "resnet18", (HALF, HALF)),
     ("geodtr_plus", "tf_efficientnet_lite0", (HALF, HALF)), ("safa", "vit_tiny_patch16_224", (HALF, HALF))],
)  # fmt: skip
def test_a_model_normalises_as_its_trunk_wants_unless_the_method_says_more(method, backbone, expected):
    with torch.device("meta"):
        model = create_model(method, query_size=(32, 96), backbone=backbone, pretrained=False)
    assert (model.mean, model.std) == expected


def test_vgg16_keeps_the_normalisation_of_its_method():
    with torch.device("meta"):
        assert create_model("safa", pretrained=False).std == (1 / 255,) * 3


@pytest.fixture
def half(monkeypatch):
    """Let the tiny trunk want 0.5, and have dropped a stage, as trunks of timm do."""

    def build(*args):
        trunk = build_trunk(*args)
        trunk.mean, trunk.std, trunk.dropped = HALF, HALF, ("net.blocks.5.",)
        return trunk

    monkeypatch.setattr("geodtr_plugin.methods.simple.build_trunk", build)


@pytest.fixture
def folder(half, tmp_path):
    """A model that normalises by 0.5, in a folder that says so."""
    model = create_model("simple", **LAPTOP)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    views = {role: ImageTransform(32, 64).to_config() for role in ROLES}
    config = {"model": model.config, "views": views, "normalisation": {"mean": list(HALF), "std": list(HALF)}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


def rewrite(folder, **changes) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    config = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def statistics(folder):
    """Mean and std by every way in which a folder becomes a model or its transforms."""
    filled = load_weights(create_model("simple", **LAPTOP), folder)
    yield from ((model.mean, model.std) for model in (load_model(folder), create_model(folder), filled))
    for transform in transforms_of(folder).values():
        yield tuple(tuple(x.flatten().tolist()) for x in (transform.mean, transform.std))


@pytest.mark.parametrize("stated, expected", [
    ({"mean": HALF, "std": HALF}, (HALF, HALF)), ({"mean": HALF, "std": (0.25,) * 3}, (HALF, (0.25,) * 3)),
    (None, IMAGENET),  # of a version that knew no other
])  # fmt: skip
def test_a_folder_is_read_as_it_was_trained(folder, stated, expected):
    rewrite(folder, normalisation=stated)
    for mean, std in statistics(folder):
        assert mean == pytest.approx(expected[0]) and std == pytest.approx(expected[1])


@pytest.mark.parametrize("stated", [{"mean": HALF}, {"mean": 0.5, "std": HALF}, {"mean": HALF, "std": (1, 2)}, [1]])
def test_a_normalisation_that_is_none_is_a_sentence(folder, stated):
    rewrite(folder, normalisation=stated)
    for read in (load_model, transforms_of):
        with pytest.raises(UserError, match="config.json cannot be used"):
            read(folder)


def test_weights_of_versions_with_unused_stages_still_load(folder):
    tensors = load_file(folder / "model.safetensors")
    unused = {f"towers.{tower}.trunk.net.blocks.5.conv.weight": torch.ones(2, 3) for tower in (0, 1)}
    save_file({**tensors, **unused}, folder / "model.safetensors")
    state = load_model(folder).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in tensors.items())
    save_file({**tensors, "towers.0.trunk.net.blocks.4.conv.weight": torch.ones(2, 3)}, folder / "model.safetensors")
    with pytest.raises(UserError, match="Not known to the model: towers.0.trunk.net.blocks.4.conv.weight"):
        load_model(folder)


@pytest.mark.slow
def test_a_run_states_its_normalisation_and_an_earlier_one_goes_on_as_it_began(half, tmp_path):
    words = (
        "--method simple --train synth-suburb --data.count 8 --batch-size 4 --epochs 1 --workers 0 --threads 1 "
        "--device cpu --evaluation.examples 0"
    )
    run_harness(settings(f"{words} --out {tmp_path / 'run'}"))
    stated = [json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))["normalisation"]]
    rewrite(tmp_path / "run", normalisation=None)
    resume(tmp_path / "run", epochs=2)
    stated.append(json.loads((tmp_path / "run/config.json").read_text(encoding="utf-8"))["normalisation"])
    assert stated == [{"mean": list(mean), "std": list(std)} for mean, std in ((HALF, HALF), IMAGENET)]
