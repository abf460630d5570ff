"""What stands in files that are given as weights, and what is said about those that hold none."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from geodtr_plugin import create_model
from geodtr_plugin.harness.initial_weights import find_initial_weights
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.methods.weights_file import read_tensors
from geodtr_plugin.utils.errors import UserError

STATE = {"conv.weight": torch.arange(400.0).reshape(20, 20), "conv.bias": torch.arange(20.0)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 1617477\n"
PAGE = b"\n<!DOCTYPE html><html><head><title>Virus scan warning</title></head></html>"
NUMBERS = {"best": np.float64(0.9), "epoch": np.int64(3), "done": np.bool_(True), "recalls": np.arange(3.0)}


class Detonator:
    """Leaves a file behind when its pickle is executed."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def is_state(tensors) -> bool:
    return set(tensors) == set(STATE) and all(torch.equal(tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("wrapper", ["model_state_dict", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("new_format", [True, False])
def test_wrappers_are_taken_off(tmp_path, wrapper, prefix, new_format):
    wrapped = {wrapper: {prefix + name: tensor for name, tensor in STATE.items()}, "epoch": 3, "optimizer": {}}
    torch.save(wrapped, tmp_path / "w.pth", _use_new_zipfile_serialization=new_format)
    assert is_state(read_tensors(tmp_path / "w.pth"))


def test_a_compiled_part_is_unwrapped_and_safetensors_are_too(tmp_path):
    torch.save({"net._orig_mod.conv.weight": STATE["conv.weight"]}, tmp_path / "w.pth")
    assert list(read_tensors(tmp_path / "w.pth")) == ["net.conv.weight"]
    save_file({"module." + name: tensor for name, tensor in STATE.items()}, tmp_path / "w.safetensors")
    assert is_state(read_tensors(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("beside", [NUMBERS, {"args": argparse.Namespace(lr=1), "where": Path("x")}])
def test_objects_beside_the_tensors_are_passed_over(tmp_path, beside, new_format):
    torch.save({"state_dict": STATE, **beside}, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)
    torch.save({**beside, **STATE}, tmp_path / "b.pth", _use_new_zipfile_serialization=new_format)
    for name in "ab":
        assert is_state(read_tensors(tmp_path / f"{name}.pth"))


@pytest.mark.parametrize("new_format", [True, False])
def test_no_code_of_the_file_is_run(tmp_path, new_format):
    before = set(torch.serialization.get_safe_globals())
    content = {"state_dict": STATE, "bomb": Detonator(tmp_path / "went_off")}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=new_format)
    with pytest.raises(UserError) as caught:  # os.mkdir is posix.mkdir or nt.mkdir, of modules that torch refuses
        read_tensors(tmp_path / "w.pth")
    assert "weights_only" not in str(caught.value) and not (tmp_path / "went_off").exists()
    assert set(torch.serialization.get_safe_globals()) == before


def test_whole_modules_beside_the_tensors_are_passed_over_or_explained(tmp_path):
    content = {"state_dict": STATE, "criterion": nn.ReLU()}
    torch.save(content, tmp_path / "new.pth")
    assert is_state(read_tensors(tmp_path / "new.pth"))
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="no checkpoint of tensors that can be read safely. Where it was made, save"):
        read_tensors(tmp_path / "old.pth")


def test_the_content_counts_and_not_the_suffix(tmp_path):
    torch.save(STATE, tmp_path / "w.safetensors")
    save_file(STATE, tmp_path / "w.pth")
    assert is_state(read_tensors(tmp_path / "w.safetensors")) and is_state(read_tensors(tmp_path / "w.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "content, said",
    [
        (POINTER, "is a pointer of git LFS, not the weights themselves. Fetch them: git lfs pull."),
        (PAGE, "is a web page, not weights. Download the file itself"),
        (b"", "is empty: a copy that did not finish. Copy or download it again."),
        (bytes(4096), "is full of zeros: a copy that did not finish"),
        (b'{"model": 1}', "is neither a .safetensors file nor a checkpoint of torch.save"),
    ],
)
def test_files_that_hold_no_weights_say_what_they_are(tmp_path, suffix, content, said):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_tensors(path)
    assert str(caught.value).startswith(f"{path} {said}")


def test_files_that_are_cut_short_say_so(tmp_path):
    torch.save(STATE, tmp_path / "new.pth")
    torch.save(STATE, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(STATE, tmp_path / "w.safetensors")
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for size in (40, len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:size])
            with pytest.raises(UserError, match="is damaged or cut short. Copy or download it again"):
                read_tensors(path)


@pytest.mark.parametrize(
    "content, said",
    [
        ({"epoch": 3, "net": [STATE]}, "holds no tensors by name, .* It holds: epoch, net. Where it was made, save"),
        ({}, "It holds: none"),
        ([1, 2], "It holds: a list"),
        (torch.zeros(3), "It holds: a Tensor"),
        ({"model": nn.ReLU()}, "It holds: model"),
        ({name: tensor.numpy() for name, tensor in STATE.items()}, "It holds: conv.weight, conv.bias"),
        (nn.ReLU(), "is a whole pickled object, whose code is not run"),
        ({"format": 2, "epoch": 1, "states": {}, "kinds": {}}, "is the training state of a run .* last.safetensors"),
    ],
)
def test_checkpoints_of_other_content_say_what_they_hold(tmp_path, content, said):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match=said):
        read_tensors(tmp_path / "w.pth")


def test_a_run_of_another_method_is_named(tmp_path):
    model = create_model("simple", **METHODS["simple"].recipes["laptop"].model)
    save_file(STATE, tmp_path / "last.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model": {"method": "safa"}}), encoding="utf-8")
    with pytest.raises(UserError, match="holds weights of the method safa, not of simple. Add --method safa"):
        load_weights(model, tmp_path)
    (tmp_path / "last.safetensors").rename(tmp_path / "found.safetensors")
    with pytest.raises(UserError, match="These weights are none of simple.* Check --method"):
        load_weights(model, tmp_path / "found.safetensors")


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(UserError, match="is no run folder. Name a run folder, or a file of weights"):
        find_initial_weights(str(tmp_path))


def test_state_dicts_of_several_parts_are_read_under_their_names(tmp_path):
    ground = {f"module.{name}": tensor for name, tensor in STATE.items()}
    torch.save({"ground": ground, "aerial": STATE, "epoch": 3}, tmp_path / "w")
    tensors = read_tensors(tmp_path / "w")
    assert set(tensors) == {f"{part}.{name}" for part in ("ground", "aerial") for name in STATE}
