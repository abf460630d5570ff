"""A run folder with an untrained model, and a few tiles with places: what a search needs."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image
from stores import serving

from geodtr_plugin.harness.build import build_image_transforms
from geodtr_plugin.harness.options import parse_run
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.methods import create_model
from geodtr_plugin.utils.files import write_safetensors


def picture(seed: int, height: int = 32, width: int = 32) -> np.ndarray:
    """Smooth colours, so that JPEG changes little, and no two seeds alike."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def write_run(folder, seed: int = 0, polar: bool = False):
    """What a finished run leaves for a search."""
    words = "--method geodtr_plus --train synth-suburb --model.backbone tiny".split()
    config, _ = parse_run([*words, "--polar" if polar else "--no-polar", "--out", str(folder)])
    torch.manual_seed(seed)
    model = create_model(config.method, **{**config.recipe.model, "pretrained": False})
    run = RunFolder(RunFolder.place(config))
    run.begin(config)
    views = {role: view.to_config() for role, view in build_image_transforms(config, model).items()}
    run.write_config(config, model, views)
    write_safetensors(run.best_weights, model.state_dict())
    return run.path


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="session")
def polar_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "polar", polar=True)


@pytest.fixture
def tiles(tmp_path):
    """Ten tiles and places.csv."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    lines = ["file,lat,lon"]
    for number in range(10):
        Image.fromarray(picture(number)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{48 + number / 1000:.4f},{11 - number / 500:.4f}")
    (folder / "places.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The address of a store over the network: that in GEODTR_MILVUS, which must be empty, else Milvus Lite serving."""
    if "GEODTR_MILVUS" in os.environ:
        yield os.environ["GEODTR_MILVUS"]
        return
    with serving(tmp_path_factory.mktemp("served") / "city.db") as url:
        yield url
