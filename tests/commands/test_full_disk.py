"""A file that the disk has no room for is one sentence, and what was there before is as it was.

The limit of a file's size stands in for the disk: the system refuses to write the same way.
"""

from __future__ import annotations

import contextlib
import os

import pytest
import torch

from geodtr_plugin.commands.main import main
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.figures import new_figure, save_figure
from geodtr_plugin.utils.files import atomic_path, write_text, write_torch
from geodtr_plugin.utils.npy_files import new_array

resource = pytest.importorskip("resource", reason="limits the size of files as POSIX systems do")
WORDS = (
    "--method geodtr_plus --train synth-suburb --test synth-suburb --data.count 16 --batch-size 8 --threads 1 "
    "--device cpu --workers 0 --epochs 2"
).split()


@contextlib.contextmanager
def no_file_above(size: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_text(path, "x" * 5000),
        lambda path: write_torch(path, torch.zeros(5000)),
        lambda path: save_figure(new_figure(4, 3), path, dpi=200),
    ],
)
def test_the_old_file_stays(tmp_path, write):
    write_text(tmp_path / "a.png", "old")
    with no_file_above(1000), pytest.raises(UserError, match="a.png cannot be written: File too large. Free some"):
        write(tmp_path / "a.png")
    assert os.listdir(tmp_path) == ["a.png"] and (tmp_path / "a.png").read_text() == "old"


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    with no_file_above(1000), pytest.raises(UserError, match="export cannot be written: File too large"):
        with atomic_path(tmp_path / "export") as folder:
            folder.mkdir()
            write_text(folder / "small", "x")
            write_text(folder / "large", "x" * 5000)
    assert os.listdir(tmp_path) == []


def test_an_array_takes_its_room_at_once(tmp_path):
    with no_file_above(1000), pytest.raises(UserError, match="no room for 1.6e-05 GB of vectors .File too large.. X"):
        new_array(tmp_path / "a.npy", (1000, 4), "float32", "vectors", "X")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full") / "run"
    assert run_command([*WORDS, "--out", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_commands_say_what_they_could_not_write(run, tmp_path, monkeypatch, capsys):
    city, cache = tmp_path / "city", tmp_path / "cache"
    monkeypatch.setenv("GEODTR_CACHE", str(cache))
    assert main(["data", "write", "synth-suburb", "--count", "40", "--out", str(city)]) == 0
    capsys.readouterr()
    own = [word for word in WORDS if word not in ("--data.count", "16")]
    own += ["--train", f"folder:{city}", "--test", f"folder:{city}", "--recipe", "laptop", "--cache"]
    commands = [
        (20_000, "export", ["export", str(run), "-o", str(tmp_path / "export")]),
        (20_000, "export", ["export", str(run), "-o", str(tmp_path / "export"), "--format", "torch-export"]),
        (2_000, "other", ["data", "write", "synth-suburb", "--count", "40", "--out", str(tmp_path / "other")]),
        (20_000, "vectors", f"index build --run {run} --references {city} -o {tmp_path / 'i'}".split()),
        (200_000, "a synthetic world", ["run", *WORDS, "--out", str(tmp_path / "r")]),
        (200_000, "cached images", ["run", *own, "--out", str(tmp_path / "r")]),
    ]
    for size, what, words in commands:
        with no_file_above(size):
            assert main(words) == 1, words
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("Error: ") and what in said and "File too large" in said, said
        assert not {"export", "other", "i", ".i.lock", "i.partial", "r"} & set(os.listdir(tmp_path))
        assert not [path for path in cache.rglob("*") if "partial" in path.name]


@pytest.mark.slow
def test_a_training_that_meets_a_full_disk_goes_on_afterwards(run, tmp_path, capsys):
    folder, size = tmp_path / "run", (run / "last.safetensors").stat().st_size
    with no_file_above(2 * size):  # weights fit, their training state does not
        assert run_command([*WORDS, "--out", str(folder)]) == 1
    assert f"{folder / 'last.ckpt'} cannot be written: File too large" in capsys.readouterr().err
    assert run_command(["--resume", str(folder)]) == 0
    tests = [RunFolder(path).metrics()[-1]["tests"] for path in (run, folder)]
    assert tests[0] == tests[1] and set(os.listdir(run)) == set(os.listdir(folder))
