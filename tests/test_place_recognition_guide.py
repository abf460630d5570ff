"""The journeys of the guide's section on place recognition, on the synthetic set: one command each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from geodtr_plugin.commands.main import main
from geodtr_plugin.datasets import load_split

pytestmark = pytest.mark.slow

GUIDE = (Path(__file__).resolve().parents[1] / "docs/guides/train_and_compare.md").read_text(encoding="utf-8")
DATA = "--train synth-suburb-ground --test synth-suburb-ground --data.count 16".split()
SMALL = "--epochs 1 --batch-size 8 --workers 0 --threads 1 --device cpu".split()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a trained run, and photos with a table of their places."""
    folder = tmp_path_factory.mktemp("journeys")
    assert main(["run", "--method", "haf", *DATA, *SMALL, "--out", str(folder / "haf")]) == 0
    world = load_split("synth-suburb-ground", "test", count=16)
    lines = ["file,lat,lon"]
    for role, images in (("queries", world.queries), ("references", world.references)):
        (folder / "photos" / role).mkdir(parents=True)
        for i in range(len(images)):
            name = f"{role}/{i:03d}.png"
            Image.fromarray(images.read(i).permute(1, 2, 0).numpy()).save(folder / "photos" / name)
            east, north = images.coordinates[i] % 1000
            lines.append(f"{name},{48 + north / 111_320:.7f},{11 + east / 74_490:.7f}")
    (folder / "photos" / "places.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_the_section_shows_these_commands():
    section = GUIDE[GUIDE.index("## Place recognition") : GUIDE.index("## Choices")]
    for words in ("--train pitts30k", "geodtr models haf", "--init-weights", "geodtr index build", "geodtr locate",
                  "--train folder:"):  # fmt: skip
        assert words in section


def test_train_and_test(home):
    results = json.loads((home / "haf" / "results.json").read_text())
    scores = results["tests"]["synth-suburb-ground"]["last"]
    assert {"recall_at_1", "recall_at_5", "recall_at_10", "recall_at_20"} <= set(scores)


def test_model_zoo(home, capsys):
    assert main(["models", "haf"]) == 0
    assert "Hierarchical Attention Fusion" in capsys.readouterr().out
    words = ["--method", "haf", "--test", "synth-suburb-ground", "--data.count", "16", "--epochs", "0"]
    again = [*words, "--init-weights", str(home / "haf"), "--out", str(home / "again"), "--device", "cpu"]
    assert main(["run", *again]) == 0
    first, second = (json.loads((home / name / "results.json").read_text()) for name in ("haf", "again"))
    numbers = [r["tests"]["synth-suburb-ground"]["last"]["recall_at_1"] for r in (first, second)]
    assert numbers[0] == numbers[1]


def test_inference_on_a_single_image(home, capsys):
    index = ["--references", str(home / "photos"), "-o", str(home / "photos.index"), "--device", "cpu"]
    assert main(["index", "build", "--run", str(home / "haf"), *index]) == 0
    photo = str(home / "photos" / "references" / "000.png")
    capsys.readouterr()
    words = ["--index", str(home / "photos.index"), photo, "--format", "json", "--device", "cpu"]
    assert main(["locate", *words]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    best = answer["matches"][0]
    assert best["path"] == "references/000.png", "a reference finds itself"
    assert best["similarity"] == pytest.approx(1, abs=1e-3) and 47.9 < best["lat"] < 48.1


def test_training_on_data_of_ones_own(home):
    own = f"folder:{home / 'photos'}"
    assert main(["run", "--method", "netvlad", "--recipe", "laptop", "--train", own, "--test", own, *SMALL,
                 "--batch-size", "4", "--out", str(home / "own")]) == 0  # fmt: skip
    assert json.loads((home / "own" / "results.json").read_text())["train_data"]["pairs"] > 0
