"""Input maps and images that move by themselves, through whole runs: training, test, search and export."""

from __future__ import annotations

import json
import logging
import re

import pytest
import torch

from geodtr_plugin import create_model
from geodtr_plugin.augmentations import ImageTransform, Misalignment
from geodtr_plugin.commands.export import export_command
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness.checks import check_misalignment
from geodtr_plugin.methods import METHODS, transforms_of
from geodtr_plugin.miners import CHSG
from geodtr_plugin.search.embedder import Embedder, RunRecord
from geodtr_plugin.utils.errors import UserError

SMALL = (
    "--train synth-suburb --test synth-suburb --data.count 16 --batch-size 8 --epochs 1 --workers 0 --threads 1 "
    "--device cpu --evaluation.examples 0"
)
CVM_NET = dict(query_size=(32, 88), reference_size=(32, 32), backbone="tiny", pretrained=False, clusters=4, dim=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of OriCNN on queries of 90 degrees, whose maps are cut with them."""
    out = tmp_path_factory.mktemp("run") / "run"
    sizes = "--model.width 4 --model.query_size [32,88] --model.reference_size [32,32]"
    moving = "--augment.tiles crop+turn --augment.panoramas roll --chsg l+s --fov 90"
    assert run_command(f"--method oricnn {SMALL} {sizes} {moving} --out {out}".split()) == 0
    return out


def test_a_run_hands_the_maps_to_training_test_and_search(run):
    results = json.loads((run / "results.json").read_text())
    assert results["recipe"]["augment"]["tiles"] == "crop+turn" and results["recipe"]["augment"]["panoramas"] == "roll"
    model, transforms = create_model(run), transforms_of(run)
    assert model.input_shape("query") == (5, 32, 22)
    panoramas = torch.randint(0, 256, (2, 3, 32, 88), dtype=torch.uint8)
    found = transforms["query"](panoramas)
    assert torch.equal(found[0, 3:], model.input_maps("query", (32, 88))[:, :, 33:55])
    record = RunRecord.read(run)
    whole = Embedder.load(record, "cpu").embed([*panoramas], "query")
    with torch.no_grad():
        assert abs(whole - model.encode_query(found).numpy()).max() < 1e-5
    cropped = Embedder.load(record, "cpu", cropped_queries=True).embed([*panoramas[..., 33:55]], "query")
    assert abs(whole - cropped).max() < 1e-5


@pytest.mark.slow
def test_a_program_says_which_maps_it_wants(run, tmp_path, monkeypatch):
    out = tmp_path / "programs"
    assert export_command([str(run), "-o", str(out), "--format", "torch-export"]) == 0
    images = transforms_of(run)["query"](torch.randint(0, 256, (3, 3, 32, 88), dtype=torch.uint8))
    code = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names = {"images": images[:, :3]}
    monkeypatch.chdir(out)
    exec(code, names)
    assert torch.equal(names["images"], images)
    assert (names["embeddings"] - create_model(run).encode_query(images)).abs().max() < 1e-5


@pytest.mark.parametrize("options", [dict(polar=True, reference_size=(32, 88)), dict(reference_size=(32, 48))])
def test_tiles_that_cannot_be_turned_by_quarters_are_refused(options):
    model = create_model("cvm_net", **CVM_NET | options)
    with pytest.raises(UserError, match="is for square tiles.*--augment.tiles none"):
        check_misalignment(Misalignment("crop+turn"), CHSG.variant("raw", model.polar), model)
    check_misalignment(Misalignment(), CHSG.variant("raw", model.polar), model)


@pytest.mark.parametrize(
    "method, options, misalign, variant, warned",
    [
        ("cvm_net", CVM_NET, ("crop+turn",), "l+s", "every reference is turned at random.*--augment.tiles none"),
        ("cvm_net", CVM_NET, ("none", "roll"), "l", "every query is turned at random.*--augment.panoramas none"),
        ("cvm_net", CVM_NET, ("crop+turn",), "s", ""),
        ("cvm_net", CVM_NET, (), "l+s", ""),
        ("oricnn", METHODS["oricnn"].recipes["laptop"].model, ("crop+turn", "roll"), "l+s", ""),
    ],
)
def test_twins_that_only_their_turn_tells_apart_are_told_of(
    method, options, misalign, variant, warned, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("geodtr_plugin"), "propagate", True)  # a run that came before switches it off
    with caplog.at_level(logging.WARNING, "geodtr_plugin"):
        check_misalignment(Misalignment(*misalign), CHSG.variant(variant), create_model(method, **options))
    assert bool(caplog.text) == bool(warned)
    assert re.search(warned, caplog.text)


def test_a_view_knows_the_size_of_whole_panoramas():
    assert ImageTransform(8, 10, panorama_width=40).size == (8, 40) and ImageTransform(8, 10).size == (8, 10)
