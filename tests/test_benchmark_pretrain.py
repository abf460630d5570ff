"""`python benchmarks/pretrain.py` at a small setting: twice the same weights, which then serve by their name."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch
from documents import ROOT
from safetensors.torch import load_file

from geodtr_plugin import create_model, load_model
from geodtr_plugin.methods import packaged
from geodtr_plugin.utils.errors import UserError

pytestmark = pytest.mark.slow

# from scratch and small, so that nothing has to be installed
WORDS = (
    "--train synth-suburb --count 16 --epochs 2 --batch-size 8 --backbone tiny --model.pretrained false "
    "--model.query_size [32,88] --optim.ema 0.9 --device cpu --workers 0 --threads 1 --evaluation.examples 0"
).split()


@pytest.fixture(scope="module")
def script():
    """The script as a module; what it switches on for the whole process is switched off again."""
    spec = importlib.util.spec_from_file_location("pretrain_script", ROOT / "benchmarks/pretrain.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


@pytest.fixture(scope="module")
def home(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrain")
    assert script.main([*WORDS, "--run", str(folder / "run"), "--out", str(folder / "weights/worlds")]) == 0
    return folder


def test_made_twice_the_weights_are_equal(home, tmp_path):
    words = [*WORDS, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "worlds")]
    command = [sys.executable, str(ROOT / "benchmarks/pretrain.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = (folder / "model.safetensors" for folder in (home / "weights/worlds", tmp_path / "worlds"))
    assert first.read_bytes() == second.read_bytes()


def test_matrices_are_halved_and_the_model_is_the_trained_one(home, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", home / "weights")
    stored, exact = load_file(home / "weights/worlds/model.safetensors"), load_file(home / "run/last.safetensors")
    for name, tensor in exact.items():
        halved = tensor.is_floating_point() and tensor.ndim > 1
        assert torch.equal(stored[name], tensor.half() if halved else tensor), name
    model, trained = create_model("geodtr_plus", pretrained="worlds"), load_model(home / "run", "last.safetensors")
    assert all(tensor.dtype == torch.float32 for tensor in model.parameters())
    with torch.no_grad():
        images = torch.randn(8, 3, *model.query_size)
        assert (model.encode_query(images) * trained.encode_query(images)).sum(1).min() > 0.9999


def test_the_card_says_how_and_from_what(home):
    card = (home / "weights/worlds/README.md").read_text(encoding="utf-8")
    for said in ("`python benchmarks/pretrain.py --count 16 --epochs 2 --seed 0 --train synth-suburb --batch-size 8 ",
                 "minutes on 1 CPU thread", "Trained on rendered worlds (synth-suburb) (16 pairs)", "| synth-suburb |",
                 "under the MIT licence", "Apache License 2.0", "same area", "rounded to half precision"):  # fmt: skip
        assert said in card, said
    assert str(home) not in card + (home / "weights/worlds/config.json").read_text(encoding="utf-8")


def test_a_run_that_has_ended_is_packed_by_the_same_words_alone(home, script, tmp_path, capsys):
    where = ["--run", str(home / "run"), "--out", str(tmp_path / "again")]
    before = (home / "run/last.safetensors").stat().st_mtime_ns
    assert script.main([*WORDS, "--seed", "1", *where]) == 1
    assert "was made by other words" in capsys.readouterr().err
    assert script.main([*WORDS, *where]) == 0
    assert (home / "run/last.safetensors").stat().st_mtime_ns == before, "trained anew"
    assert script.main([*WORDS, *where]) == 1
    assert "holds something already" in capsys.readouterr().err
    assert script.main([*WORDS, *where, "--overwrite"]) == 0


def test_a_training_that_was_interrupted_goes_on(home, script, tmp_path):
    shutil.copytree(home / "run", tmp_path / "run")
    for name in ("results.json", "last.safetensors"):
        (tmp_path / "run" / name).unlink()
    assert script.main([*WORDS, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "worlds")]) == 0
    folders = home / "weights/worlds", tmp_path / "worlds"
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())


def test_the_wheel_holds_the_weights(home, tmp_path):
    pytest.importorskip("setuptools")
    source = tmp_path / "source"
    shutil.copytree(ROOT / "geodtr_plugin", source / "geodtr_plugin", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(source / "geodtr_plugin/weights/worlds", ignore_errors=True)
    shutil.copytree(home / "weights/worlds", source / "geodtr_plugin/weights/worlds")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    folder = "geodtr_plugin/weights/"
    expected = ("README.md", "LICENSE-Apache-2.0", "worlds/model.safetensors", "worlds/config.json", "worlds/README.md")
    assert {folder + name for name in expected} <= names


def test_the_weights_of_this_checkout_are_whole_and_small():
    for name in packaged.packaged_names():
        folder = packaged.FOLDER / name
        model = load_model(name)  # checks the digest
        with torch.no_grad():
            assert model.encode_query(torch.randn(2, 3, *model.query_size)).isfinite().all()
        assert model.method_name in json.loads((folder / "config.json").read_text(encoding="utf-8"))["model"]["method"]
        assert "## How it was made" in (folder / "README.md").read_text(encoding="utf-8")
    with pytest.raises(UserError):
        create_model("geodtr_plus", pretrained="no such weights")
    assert sum(file.stat().st_size for file in packaged.FOLDER.rglob("*") if file.is_file()) < 16e6
