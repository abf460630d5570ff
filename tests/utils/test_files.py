"""Files are written whole or not at all."""

from __future__ import annotations

import json
import os
import stat

import pytest
import torch
from safetensors.torch import load_file, safe_open

from geodtr_plugin.utils.files import atomic_path, write_json, write_safetensors, write_text, write_torch


def test_round_trips_into_a_new_folder(tmp_path):
    folder = tmp_path / "a" / "b"
    write_text(folder / "t.txt", "Zürich\n")
    write_json(folder / "j.json", {"name": "Zürich", "n": [1, 2.5, None]})
    write_torch(folder / "s.pt", {"x": torch.arange(3)})
    assert (folder / "t.txt").read_text(encoding="utf-8") == "Zürich\n"
    assert json.loads((folder / "j.json").read_text(encoding="utf-8")) == {"name": "Zürich", "n": [1, 2.5, None]}
    assert torch.equal(torch.load(folder / "s.pt", weights_only=True)["x"], torch.arange(3))
    assert sorted(os.listdir(folder)) == ["j.json", "s.pt", "t.txt"]


def test_safetensors_takes_any_layout_and_shared_memory(tmp_path):
    x = torch.arange(6.0).reshape(2, 3)
    write_safetensors(tmp_path / "w.safetensors", {"x": x, "same": x, "turned": x.t()}, {"method": "geodtr_plus"})
    back = load_file(tmp_path / "w.safetensors")
    assert torch.equal(back["x"], x) and torch.equal(back["same"], x) and torch.equal(back["turned"], x.t())
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata() == {"method": "geodtr_plus"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old" and temporary.parent == path.parent and temporary.suffix == ".json"
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["results.json"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere a file that is being read cannot be replaced")
def test_a_reader_of_the_old_file_never_sees_the_new_one(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with open(path) as reader:
        write_text(path, "new")
        assert reader.read() == "old" and path.read_text() == "new"


def test_values_that_json_cannot_hold_leave_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", [object()])
    assert json.loads((tmp_path / "a.json").read_text()) == [1]


@pytest.mark.skipif(os.name != "posix", reason="umask is a POSIX notion")
def test_file_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
