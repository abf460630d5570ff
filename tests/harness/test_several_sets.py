"""Training on several data sets at once, by the real command."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
import trees
import trees_vigor
from safetensors.torch import load_file

from geodtr_plugin.commands.main import main
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.checks import check_recipe
from geodtr_plugin.harness.results import kind_of_test, published
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.utils.errors import UserError

TINY = (
    "--epochs 1 --batch-size 8 --workers 0 --device cpu --precision fp32 --backbone tiny --model.pretrained false "
    "--model.query_size [32,64] --model.feedforward 64"
).split()
PLAIN = ["--no-polar", "--model.reference_size", "[32,32]"]
POLAR = ["--polar", "--model.reference_size", "[32,64]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """CVUSA (8 training pairs), CVACT (8) and VIGOR (16) in miniature, tiles of three sizes."""
    root = tmp_path_factory.mktemp("data")
    trees.write_cvusa(root / "CVUSA", range(1, 9), range(9, 13))
    trees.write_cvact(root / "CVACT", num_train=8)
    trees_vigor.write_vigor(root / "VIGOR", num_panoramas=8)
    return root


def run(words: str | list[str], out: Path, data: Path | None = None) -> dict:
    words = words.split() if isinstance(words, str) else words
    place = ["--out", str(out), *(["--data-root", str(data)] if data else [])]
    assert run_command([*TINY, *words, *place]) == 0
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_three_real_sets_in_one_run(data, tmp_path, capsys):
    words = "--train cvusa cvact vigor-same --test cvusa vigor-same vigor-cross --sampler geo --shares 1 1 2"
    results = run([*PLAIN, *words.split()], tmp_path / "run", data)
    assert results["train"] == ["cvusa", "cvact", "vigor-same"]
    kinds = {name: test["kind"] for name, test in results["tests"].items()}
    assert kinds == {"cvusa": "same area", "vigor-same": "same area", "vigor-cross": "cross area"}
    assert all(test["published"] == {} for test in results["tests"].values())
    sets = results["train_data"]["sets"]
    shares = {"cvusa": (8, 0.25), "cvact": (8, 0.25), "vigor-same": (16, 0.5)}
    assert {name: (entry["pairs"], entry["share"]) for name, entry in sets.items()} == shares
    assert results["train_data"]["pairs"] == 32
    out = capsys.readouterr().out
    assert "cvusa: 2 of 8 pairs, its 8 pairs 1.00 times an epoch, shuffled" in out
    assert "cvact: 2 of 8 pairs, its 8 pairs 1.00 times an epoch, GeoNeighbourBatchSampler" in out
    assert "vigor-same: 4 of 8 pairs, its 16 pairs 1.00 times an epoch, GeoNeighbourBatchSampler" in out
    assert "places of cvact within 25 m" in out and "R@1 cvusa" in out
    assert main(["export", str(tmp_path / "run")]) == 0
    card = (tmp_path / "run/export/README.md").read_text()
    assert "trained on cvusa, cvact and vigor-same" in card and "(32 pairs)" in card
    words = f"--test vigor-cross cvusa --epochs 0 --init-weights {tmp_path / 'run'} --data-root {data}"
    assert run_command([*words.split(), "--device", "cpu", "--out", str(tmp_path / "measured")]) == 0
    measured = json.loads((tmp_path / "measured/results.json").read_text())
    assert [test["kind"] for test in measured["tests"].values()] == ["cross area", "same area"]
    assert "trained on cvusa, cvact and vigor-same" in capsys.readouterr().out


@pytest.mark.slow
def test_polar_tiles_of_two_sizes_with_limit_damage_and_cache(data, tmp_path, capsys):
    file = next((data / "CVUSA/bingmap/19").glob("*3.jpg"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-150])
    try:
        words = "--train cvusa cvact --test cvusa --limit 7 --skip-corrupt --cache --workers 2 --sampler similar"
        results = run([*POLAR, *words.split(), "--sampling.every", "1"], tmp_path / "run", data)
    finally:
        file.write_bytes(whole)
    sets, out = results["train_data"]["sets"], capsys.readouterr().out
    assert {name: entry["pairs"] for name, entry in sets.items()} == {"cvusa": 6, "cvact": 7}
    assert any("3.jpg" in note for note in sets["cvusa"]["notes"])
    assert "tiles of the training sets are resized to 60x60 pixels" in out


@pytest.mark.slow
def test_a_set_that_does_not_fit_is_refused_by_name(data, tmp_path, capsys):
    place = ["--data-root", str(data), "--out", str(tmp_path / "run")]
    assert run_command([*TINY, *POLAR, "--train", "cvusa", "vigor-same", *place]) == 1
    assert "vigor-same has cameras off the centre of their tiles" in capsys.readouterr().err
    assert run_command([*TINY, *PLAIN, "--train", "cvact-val", "cvact-test", *place]) == 1
    assert "cvact-val and cvact-test share 8 training images" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_all_styles_and_a_signal_within_an_epoch(tmp_path, monkeypatch):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    words = "--train synth-* --test synth-suburb --data.count 8 --epochs 2 --evaluation.every 1"
    straight = run(words, tmp_path / "straight")
    assert straight["train"] == list(RunFolder(tmp_path / "straight").config().train) and len(straight["train"]) >= 4
    whole = CrossViewTrainer.compute_losses

    def interrupted(self, *args):
        if (self.epoch, self.iteration) == (2, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, *args)

    monkeypatch.setattr(CrossViewTrainer, "compute_losses", interrupted)
    assert run_command([*TINY, *words.split(), "--out", str(tmp_path / "cut")]) == 143
    monkeypatch.undo()
    assert "Saved after step 2 of " in (tmp_path / "cut/log.txt").read_text()
    assert run_command(["--resume", str(tmp_path / "cut")]) == 0
    signal.signal(signal.SIGINT, before)
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("straight", "cut"))
    assert all(torch.equal(tensor, two[key]) for key, tensor in one.items())
    again = run(["--config", str(tmp_path / "straight/recipe.yaml")], tmp_path / "again")
    assert again["tests"]["synth-suburb"]["last"] == straight["tests"]["synth-suburb"]["last"]


def test_words_become_sets_and_shares():
    config = settings("--train synth-country synth-* --test synth-*-offset cvusa --shares 2 1 1 1")
    assert config.train[0] == "synth-country" and len(config.train) == len(set(config.train)) == 4
    assert config.test[-1] == "cvusa" and all(name.endswith("-offset") for name in config.test[:-1])
    assert config.shares == (2.0, 1.0, 1.0, 1.0) and config.recipe_name == "laptop"
    assert settings("--train cvusa vigor-same").recipe_name == "paper_offset"
    assert settings("--train synth-suburb cvusa").recipe_name == "paper"
    assert settings("--train cvusa cvact").test == ("cvusa", "cvact")
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(UserError, match="There is no data set 'x-"):
        settings("--train x-* --test cvusa")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--train cvusa cvact --shares 1", "--shares 1 came with 2 training sets. Give one number for each"),
        ("--train cvusa --shares 1 2", "--shares 1 2 came with 1 training set"),
        ("--train cvusa cvact --shares 1 0", "--shares is 1 0; a share is a number above 0"),
        ("--train cvusa cvact --shares 1 .nan", "a share is a number above 0"),
    ],
)  # fmt: skip
def test_shares_that_are_none_are_refused(words, said):
    with pytest.raises(UserError, match=said):
        check_recipe(settings(words))


def test_papers_trained_on_one_set():
    assert published("geodtr_plus", ("cvusa",), "cvact", True)
    assert published("geodtr_plus", ("cvusa", "cvact"), "cvact", True) == {}
    assert published("geodtr_plus", (), "cvact", True) == {}


def test_a_test_set_is_same_area_if_it_is_of_any_training_sets_area():
    assert kind_of_test(("cvusa", "synth-suburb"), "synth-suburb-offset") == "same area"
    assert kind_of_test(("cvusa", "synth-suburb"), "cvact") == "cross area"
    assert kind_of_test((), "cvact") == "area unknown"
