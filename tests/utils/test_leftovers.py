"""What a killed process left is removed, and what a living one writes is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from geodtr_plugin.utils import leftovers
from geodtr_plugin.utils.files import atomic_path, write_text

HALF = """
import os, sys
from geodtr_plugin.utils.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("written", flush=True)
    sys.stdin.read()
"""
posix = pytest.mark.skipif(os.name != "posix", reason="asks the system which processes there are, as POSIX has it")


def half_writing(path):
    process = subprocess.Popen([sys.executable, "-c", HALF, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"written\n"
    return process


@posix
def test_the_next_writing_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "results.v2.json"
    process = half_writing(path)
    write_text(path, "whole")
    assert len(os.listdir(tmp_path)) == 2  # the other process may still end well
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    write_text(path, "again")
    assert os.listdir(tmp_path) == ["results.v2.json"] and path.read_text() == "again"


@posix
def test_only_the_file_that_is_written_is_swept(tmp_path):
    left = leftovers.temporary_name(tmp_path / "a.json")
    left = left.with_name(left.name.replace(f"-{os.getpid()}-", "-999999999-"))  # no such process
    hidden = tmp_path / ".notes.json"
    for path in (left, hidden):
        path.write_text("x")
    write_text(tmp_path / "b.json", "b")
    assert left.exists()
    write_text(tmp_path / "a.json", "a")
    assert not left.exists() and hidden.exists()


def test_what_another_machine_left_goes_after_a_day(tmp_path):
    young, old = (tmp_path / f".cache.{'0' * 8}-1-{mark * 8}" for mark in "ab")
    for folder in (young, old):
        folder.mkdir()
        (folder / "images.npy").write_text("x")
    os.utime(old, (0, 0))
    leftovers.sweep(tmp_path)
    assert young.exists() and not old.exists()
    leftovers.sweep_own(tmp_path)
    assert not young.exists()


def test_a_folder_is_written_the_same_way(tmp_path):
    with atomic_path(tmp_path / "export") as folder:
        folder.mkdir()
        leftovers.sweep(tmp_path)
        (folder / "model").write_text("x")
    assert os.listdir(tmp_path) == ["export"]
