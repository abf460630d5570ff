"""Models that are loaded from folders and from the Hugging Face Hub, and what is said about folders of another kind."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from geodtr_plugin import create_model, load_model
from geodtr_plugin.augmentations import ImageTransform, RoleTransform
from geodtr_plugin.methods import METHODS, transforms_of
from geodtr_plugin.methods.export import export_tower
from geodtr_plugin.utils.errors import UserError

IMAGES = {"query": ImageTransform(32, 88), "reference": ImageTransform(64, 64)}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    return create_model("simple", **METHODS["simple"].recipes["laptop"].model).eval()


@pytest.fixture
def folder(model, tmp_path) -> Path:
    """As `geodtr export` writes it, with what loading needs alone."""
    path = tmp_path / "my_model"
    path.mkdir()
    save_file(model.state_dict(), path / "model.safetensors")
    views = {role: image.to_config() for role, image in IMAGES.items()}
    (path / "config.json").write_text(json.dumps({"model": model.config, "views": views}))
    return path


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def test_a_folder_is_a_name_of_a_model(model, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for name in (folder, str(folder), "./my_model", "my_model"):
        loaded = create_model(name)
        assert same(loaded, model) and not loaded.training
    assert same(load_model(folder), model)


def test_a_method_goes_before_a_folder_of_its_name(model, folder, monkeypatch):
    folder.rename(folder.with_name("simple"))
    monkeypatch.chdir(folder.parent)
    options = METHODS["simple"].recipes["laptop"].model
    assert not same(create_model("simple", **options), model) and same(create_model("./simple"), model)


def test_weights_of_a_run_go_best_before_last(model, folder):
    for name, factor in (("last", 2), ("best", 3)):
        save_file({key: tensor * factor for key, tensor in model.state_dict().items()}, folder / f"{name}.safetensors")
        loaded = load_model(folder).state_dict()
        assert all(torch.equal(loaded[key], factor * tensor) for key, tensor in model.state_dict().items())
    assert same(load_model(folder, "model.safetensors"), model)


def test_transforms_have_the_sizes_of_the_folder_and_the_normalisation_of_the_model(folder):
    transforms = transforms_of(folder)
    image = torch.randint(0, 256, (2, 3, 40, 100), dtype=torch.uint8)
    expected = RoleTransform(IMAGES["query"])(image)
    assert expected.shape == (2, 3, 32, 88) and torch.equal(transforms["query"](image), expected)
    config = json.loads((folder / "config.json").read_text())
    config["model"] = {"method": "safa", "pretrained": False}
    (folder / "config.json").write_text(json.dumps(config))
    assert not torch.allclose(transforms_of(folder)["query"](image), expected), "SAFA normalises in a way of its own"


def test_options_of_a_trained_model_are_refused(folder):
    with pytest.raises(UserError, match="Leave out: polar, dim"):
        create_model(folder, polar=True, dim=16)
    with pytest.raises(UserError, match="Leave out: pretrained"):
        create_model(folder, pretrained=False)


def test_foreign_and_damaged_folders_are_named(folder, tmp_path):
    config = folder / "config.json"
    content = config.read_text()
    for text, said in (
        ("{", "config.json cannot be read"),
        ("\udcff", "config.json cannot be read"),
        ("[1]", "describes no model of geodtr_plugin"),
        ('{"architecture": "resnet18"}', "describes no model of geodtr_plugin"),
        ('{"model": {"method": "resnet18"}}', "no method 'resnet18'"),
        (content.replace('"dim": 256', '"dim": 128'), "have other shapes"),
        (content.replace('"dim"', '"dimension"'), "no option of simple 'dimension'"),
    ):
        config.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(UserError, match=re.escape(said)):
            create_model(folder)
    config.write_text(json.dumps({"model": json.loads(content)["model"]}))
    with pytest.raises(UserError, match="does not describe both roles' views"):
        transforms_of(folder)
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="is neither a .safetensors file nor"):
        create_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        create_model(folder)
    config.unlink()
    with pytest.raises(UserError, match="holds no config.json"):
        create_model(folder)
    with pytest.raises(UserError, match="There is no folder user/name.*hf-hub:user/name"):
        create_model("user/name")


def test_a_model_comes_from_the_hub(model, folder, monkeypatch):
    asked = []

    def snapshot(repository, revision, allow_patterns):
        asked.append((repository, revision, sorted(allow_patterns)))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert same(create_model("hf-hub:someone/geodtr"), model)
    assert transforms_of("hf-hub:someone/geodtr@v2")["reference"].image == IMAGES["reference"]
    files = ["config.json", "model.safetensors"]
    assert asked == [("someone/geodtr", None, files), ("someone/geodtr", "v2", files)]


def test_the_hub_out_of_reach_is_answered_with_a_sentence(monkeypatch, tmp_path):
    # the suite runs offline (HF_HUB_OFFLINE), and nothing is in this cache
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="someone/geodtr could not be fetched.*Without a network, download config.json"):
        create_model("hf-hub:someone/geodtr")
    with pytest.raises(UserError, match="no name on the Hugging Face Hub. Write hf-hub:user/name"):
        create_model("hf-hub:some one/geo/dtr")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        create_model("hf-hub:someone/geodtr")


@torch.no_grad()
def test_a_tower_is_exported_for_any_number_of_images(model, tmp_path):
    torch.export.save(export_tower(model, "reference"), tmp_path / "reference.pt2")
    program = torch.export.load(tmp_path / "reference.pt2").module()
    for count in (1, 5):
        images = torch.randn(count, 3, *model.reference_size)
        assert (program(images) - model.encode_reference(images)).abs().max() < 1e-5


def test_a_tower_that_cannot_be_followed_is_named(model, monkeypatch):
    before = torch.backends.mha.get_fastpath_enabled()
    tower = model.query_tower
    monkeypatch.setattr(tower, "forward", lambda images: images.flatten(1)[:, :8] * len(images))
    with pytest.raises(UserError, match="cannot follow the query tower of simple.*Export it as safetensors"):
        export_tower(model, "query")
    assert torch.backends.mha.get_fastpath_enabled() == before
