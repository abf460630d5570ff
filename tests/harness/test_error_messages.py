"""What goes wrong is said in one sentence, without a traceback, and the exit code is not 0."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import trees

from geodtr_plugin.commands.run import run_command

WORDS = "--train cvusa --test cvact --epochs 1 --batch-size 4 --backbone tiny --model.pretrained false".split()
SIZES = "--model.query_size [32,88] --model.feedforward 64 --precision fp32 --device cpu".split()


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    trees.write_cvusa(root / "CVUSA", train=range(1, 9), val=range(9, 13))
    trees.write_cvact(root / "CVACT", num_train=8, num_val=4)
    return root


def first(folder: Path) -> Path:
    return sorted(folder.glob("*.jpg"))[0]


def lose_split(root: Path) -> None:
    (root / "CVUSA/splits/train-19zl.csv").unlink()


def lose_matlab_file(root: Path) -> None:
    next(root.rglob("ACT_data.mat")).unlink()


def lose_image(root: Path) -> None:
    first(root / "CVUSA/streetview/panos").unlink()


def truncate_image(root: Path) -> None:
    for path in (root / "CVUSA/bingmap/19").glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:-200])


def lose_everything(root: Path) -> None:
    shutil.rmtree(root / "CVUSA")
    shutil.rmtree(root / "CVACT")


@pytest.mark.parametrize(
    "fault, words, sentence",
    [
        (lose_split, "", "train-19zl.csv"),
        (lose_matlab_file, "", "ACT_data.mat"),
        (lose_image, "", "streetview/panos"),
        (truncate_image, "--workers 0", "bingmap/19"),
        (truncate_image, "--workers 1", "bingmap/19"),
        (lose_everything, "", "GEODTR_DATA"),
        (None, "--batch-size 1", "no negatives"),
        (None, "--batch-size 16", "Lower --batch-size"),
        (None, "--method geodtr_pluss", "Did you mean 'geodtr_plus'"),
        (None, "--train cvusaa", "Did you mean 'cvusa'"),
        (None, "--test cvat", "Did you mean 'cvact'"),
        (None, "--chsg l+t", "Did you mean 'l+s'"),
        (None, "--device gpu", "--device cpu"),
        (None, "--data.cout 3", "cout"),
        (None, "--lr 1e30 --workers 0", "last.ckpt"),
        (None, "--init-weights nothing.pth", "nothing.pth"),
        (None, "--test synth-suburb-offset --data.count 8", "--no-polar"),
    ],
)
def test_one_sentence_and_no_traceback(sound, tmp_path, capfd, fault, words, sentence):
    root = sound
    if fault is not None:
        root = tmp_path / "data"
        shutil.copytree(sound, root)
        fault(root)
    place = ["--data-root", str(root), "--out", str(tmp_path / "run")]
    assert run_command([*WORDS, *SIZES, *place, *words.split()]) == 1
    error = capfd.readouterr().err
    said = [line for line in error.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1 and sentence in said[0], error
    assert "Traceback" not in error


def test_a_wrong_root_names_where_it_looked(tmp_path, capfd):
    place = ["--data-root", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run")]
    assert run_command([*WORDS, *SIZES, *place]) == 1
    error = capfd.readouterr().err
    assert str(tmp_path / "nowhere") in error and "Traceback" not in error


def test_debug_shows_the_traceback(sound, tmp_path):
    from geodtr_plugin.utils.errors import UserError

    root = tmp_path / "empty" / "root"  # loaders also look one folder up, where other tests may have left data
    root.mkdir(parents=True)
    with pytest.raises(UserError):
        run_command([*WORDS, *SIZES, "--debug", "--data-root", str(root), "--out", str(tmp_path / "run")])


def test_the_place_ids_of_a_bad_batch_are_named(sound, tmp_path, capfd):
    place = ["--data-root", str(sound), "--out", str(tmp_path / "run")]
    assert run_command([*WORDS, *SIZES, *place, "--lr", "1e30", "--workers", "0", "--epochs", "4"]) == 1
    error = capfd.readouterr().err
    assert "places" in error and str(tmp_path / "run" / "last.ckpt") in error
