"""The command `geodtr data check`: what it prints, writes and answers to the shell."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from trees import write_cvact, write_cvusa

from geodtr_plugin.commands.data import data_command


@pytest.fixture
def tree(tmp_path):
    return write_cvusa(tmp_path / "CVUSA")


def test_a_sound_tree_answers_with_0(tree, capsys):
    assert data_command(["check", "cvusa", "--root", str(tree)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok   ") for line in lines[:-1])
    assert lines[-1] == "Nothing is wrong with CVUSA: it can be used."
    assert "all 18 images decode" not in "\n".join(lines) and "18 images decode" in "\n".join(lines)
    assert data_command(["check", "cvusa", "--root", str(tree), "--decode", "all"]) == 0
    assert "all 18 images decode" in capsys.readouterr().out


def test_a_fault_answers_with_1_and_missing_files_are_written(tree, tmp_path, capsys):
    lost = [tree / "bingmap/19/0000003.jpg", tree / "streetview/panos/0000006.jpg"]
    for path in lost:
        path.unlink()
    file = tmp_path / "lists/missing.txt"
    assert data_command(["check", "cvusa", "--root", str(tree), "--write-missing", str(file)]) == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith("FAULT missing: train: 5 of 6 pairs are complete, 1 file is missing: ")
    assert lines[1].startswith("FAULT missing: test: 2 of 3 pairs are complete, 1 file is missing: ")
    assert lines[2].startswith("ok   ") and lines[-1] == f"Extract or copy the missing files again, first {lost[0]}."
    assert file.read_text().splitlines() == [str(path) for path in lost]
    assert printed.err == f"{file} names 2 missing files.\n"


def test_the_picture_shows_four_pairs(tree, tmp_path, capsys):
    file = tmp_path / "pictures/pairs.png"
    assert data_command(["check", "cvusa", "--root", str(tree), "--picture", str(file)]) == 0
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    assert pixels.shape[1] > 1000 and pixels.std() > 20
    yellow = (pixels[:, :, 0] > 240) & (pixels[:, :, 1] > 240) & (pixels[:, :, 2] < 30)
    assert yellow.any(axis=1).sum() > 100  # the line of north
    assert str(file) in capsys.readouterr().err


def test_a_set_without_aligned_tiles_has_a_picture_too(tmp_path, capsys):
    file = tmp_path / "offset.png"
    words = ["check", "synth-suburb-offset", "--data.count", "8", "--picture", str(file)]
    assert data_command(words) == 0
    assert file.is_file()
    assert "north" not in capsys.readouterr().out


def test_options_of_a_loader_reach_it(tmp_path, capsys):
    write_cvact(tmp_path / "images", mat_file="../lists/ACT_data.mat")
    words = ["check", "cvact", "--root", str(tmp_path / "images")]
    assert data_command([*words, "--data.act_mat", str(tmp_path / "lists/ACT_data.mat")]) == 0
    assert str(tmp_path / "lists/ACT_data.mat") in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("chek cvusa", "Did you mean 'check'?"),
        ("check", "name"),
        ("check cvusaa", "Did you mean 'cvusa'?"),
        ("check cvusa --decode none", "a number of images"),
        ("check cvusa --decode 0", "a number of images"),
        ("check cvusa --rot x", "Did you mean --root?"),
        ("check synth-suburb --data.cont 3", "Did you mean 'count'?"),
    ],
)
def test_mistakes_are_answered_with_one_sentence(words, sentence, capsys):
    assert data_command(words.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and sentence in error and len(error.strip().splitlines()) == 1


def test_a_picture_of_nothing_is_refused(tmp_path, capsys):
    (tmp_path / "a/b").mkdir(parents=True)
    words = ["check", "cvusa", "--root", str(tmp_path / "a/b"), "--picture", str(tmp_path / "no.png")]
    assert data_command(words) == 1
    printed = capsys.readouterr()
    assert "was not found" in printed.out and "no split could be read" in printed.err


def test_help_needs_no_torch(capsys):
    assert data_command(["--help"]) == 0 and "check" in capsys.readouterr().out
    code = (
        "import sys\nfrom geodtr_plugin.commands.data import data_command\n"
        "try:\n    data_command(['check', '--help'])\nexcept SystemExit as e:\n    assert not e.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--write-missing" in done.stdout and "cvusa" in done.stdout
