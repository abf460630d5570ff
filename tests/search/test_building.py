"""An index on disk: what it holds, and that an interrupted build ends with the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.datasets import ImageFiles
from geodtr_plugin.datasets.base import ImageDataset
from geodtr_plugin.methods.weights import load_model
from geodtr_plugin.search import Locator, build_index
from geodtr_plugin.search.embedder import RunRecord
from geodtr_plugin.search.geotags import name_position
from geodtr_plugin.testers import CrossViewTester
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.reading import read_json_lines


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def build(run, tiles, out, **options):
    return build_index(run, tiles, out, device="cpu", progress=False, **options)


@pytest.mark.parametrize("which", ["run", "polar_run"])
def test_vectors_are_those_of_the_tester(which, tiles, tmp_path, request):
    run = request.getfixturevalue(which)
    build(run, tiles / "places.csv", tmp_path / "i")
    view = ImageTransform.from_config(RunRecord.read(run).views["reference"])
    model = load_model(run)
    locator = Locator.load(tmp_path / "i")
    transform = {"reference": locator.embedder.transforms["reference"]}
    tester = CrossViewTester(
        batch_size=3, dataloader_num_workers=0, data_device="cpu", batch_transform=transform, progress=False
    )  # fmt: skip
    wanted = tester.embed(ImageDataset(ImageFiles(tiles, [f"{i}.png" for i in range(10)]), view), "reference", model)
    np.testing.assert_allclose(locator.gallery.index.vectors, wanted.numpy(), atol=1e-5)
    lines = [tuple(line.values()) for line in read_json_lines(tmp_path / "i/references.jsonl")]
    assert lines[3] == ("3.png", 48.003, 10.994)


@pytest.mark.slow
def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(run, tiles, tmp_path):
    (tiles / "5.png").write_text("bad")
    whole, killed = tmp_path / "whole.index", tmp_path / "killed.index"
    build(run, tiles, whole, batch_size=2)
    code = (
        "import os, signal, sys\nfrom geodtr_plugin.search import build_index\n"
        "def die(rows):\n    if rows == 6:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_index(*sys.argv[1:], device='cpu', progress=False, batch_size=2, after_batch=die)"
    )
    done = subprocess.run([sys.executable, "-c", code, run, tiles, killed], capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    log = killed.with_name("killed.index.partial") / "images.jsonl"
    assert not killed.exists() and sum(len(json.loads(line)) for line in log.read_text().splitlines()) == 6
    with log.open("a") as file:
        file.write('[[null, null], [nu')  # a line that was cut off
    with pytest.raises(UserError, match="is unfinished"):
        Locator.load(killed)
    done = []
    summary = build(run, tiles, killed, batch_size=2, after_batch=done.append)
    assert done == [8, 10] and summary.resumed_at == 6 and summary.count == 9
    assert contents(killed) == contents(whole)
    assert set(contents(whole)) == {"manifest.json", "vectors.npy", "references.jsonl", "left_out.jsonl"}


def test_an_unfinished_index_of_something_else_is_not_continued(run, tiles, tmp_path):
    def stop(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(run, tiles, tmp_path / "i", batch_size=4, after_batch=stop)
    Image.new("RGB", (32, 32)).save(tiles / "new.png")
    with pytest.raises(UserError, match="other files, weights or settings"):
        build(run, tiles, tmp_path / "i", batch_size=4)
    assert build(run, tiles, tmp_path / "i", batch_size=4, overwrite=True).count == 11


def test_nothing_is_overwritten_by_chance(run, tiles, tmp_path):
    build(run, tiles, tmp_path / "i")
    with pytest.raises(UserError, match="--overwrite"):
        build(run, tiles, tmp_path / "i")
    assert build(run, tiles, tmp_path / "i", overwrite=True, dtype="float16").count == 10
    assert np.load(tmp_path / "i/vectors.npy").dtype == np.float16
    with pytest.raises(UserError, match="is no index, and is not overwritten"):
        build(run, tiles, tiles, overwrite=True)
    assert (tiles / "1.png").exists()


def test_workers_change_nothing(run, tiles, tmp_path):
    build(run, tiles, tmp_path / "one", batch_size=4)
    build(run, tiles, tmp_path / "two", batch_size=4, workers=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_an_own_data_folder_gives_its_references_only(run, tiles, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(tiles, own / "references")
    (own / "references/places.csv").unlink()
    shutil.copytree(own / "references", own / "queries")
    assert build(run, own, tmp_path / "without table").count == 10
    rows = [f"{role}/{i}.png,48,{i}" for role in ("queries", "references") for i in range(3)] + ["4.png,48,4"]
    (own / "places.csv").write_text("file,lat,lon\n" + "\n".join(rows))
    summary = build(run, own, tmp_path / "i")
    assert summary.count == 4 and summary.notes == () and summary.left_out == []  # rows of queries are none lost
    assert [line["file"] for line in read_json_lines(tmp_path / "i/references.jsonl")][-1] == "references/4.png"


def test_a_polar_model_wants_to_know_whether_photos_are_taken_at_the_centres(run, polar_run, tiles, tmp_path):
    for role in ("queries", "references"):
        shutil.copytree(tiles, tmp_path / "own" / role)
    (note,) = build(polar_run, tmp_path / "own", tmp_path / "i").notes[1:]
    assert "does not say that photos are taken there" in note and "dataset.json" in note
    assert len(build(run, tmp_path / "own", tmp_path / "j").notes) == 1
    (tmp_path / "own/dataset.json").write_text('{"centred": true}')
    assert len(build(polar_run, tmp_path / "own", tmp_path / "k").notes) == 1


def test_names_are_read_when_asked_for():
    assert name_position("a/tile_48.13743_-11.57549.png") == (48.13743, -11.57549)
    assert name_position("@48.13743@11.57549@.jpg", "lon_lat") == (11.57549, 48.13743)
    for path in ("tile_48.1_11.5.png", "tile_48.13743_11.57549_x.png", "t_95.13743_11.57549.png", "100.1234.png"):
        assert name_position(path) is None
    assert name_position("tile_48.13743_11.57549.png", "none") is None


def test_a_world_is_written_to_files_first(run, tmp_path):
    with pytest.raises(UserError, match="geodtr data write synth-suburb"):
        build(run, "synth-suburb", tmp_path / "i")
