"""Robustness: what conditions do to a test set, and the real command on miniature data, killed and resumed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch.utils.data import DataLoader, Subset
from trees import save_jpeg, smooth_noise

from geodtr_plugin.comparison import robustness
from geodtr_plugin.comparison.conditions import (
    FOVS,
    GROUPS,
    conditions,
    heading_schedule,
    moved,
    vertical_degrees,
    visible_part,
)  # fmt: skip
from geodtr_plugin.comparison.robustness import Measurement, open_model, robustness_command
from geodtr_plugin.datasets import ImageDataset, load_split
from geodtr_plugin.harness import build
from geodtr_plugin.harness.orientation import HEADINGS_SEED
from geodtr_plugin.methods.packaged import FOLDER
from geodtr_plugin.worlds import LOOKS

COUNT = 5


@pytest.fixture(scope="module", autouse=True)
def _one_model_and_no_curves():
    """Both take longer than the measurements on miniature data; all tests measure the same weights."""
    built = []

    build_model = build.build_model

    def build_once(config, weights):
        built[:] = built or [build_model(config, weights)]
        return built[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, file, **_: file.touch())
        patch.setattr(build, "build_model", build_once)
        yield


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Own data of a few pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    for number in range(COUNT):
        save_jpeg(folder / f"queries/{number}.jpg", smooth_noise("ground", number, 32, 88))
        save_jpeg(folder / f"references/{number}.jpg", smooth_noise("aerial", number, 32, 32))
    return folder


@pytest.fixture(scope="module")
def split(pairs):
    return load_split(f"folder:{pairs}", "test", test_share=1.0, centred=True)


@pytest.fixture
def words(pairs, tmp_path, monkeypatch):
    """Options of a measurement on them, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    own = "--data.test_share 1 --data.centred true --workers 0 --threads 1 --device cpu"
    return ["--test", f"folder:{pairs}", *own.split()]


def named(split, key: str):
    """Return the test set under a condition."""
    return next(one for one in conditions(GROUPS) if one.key == key).change(split)


def stored(file="runs/robustness-worlds/robustness.json") -> dict:
    with open(file, encoding="utf-8") as text:
        (test,) = json.load(text)["tests"].values()
    return test["conditions"]


def test_there_are_five_severities_of_sixteen_kinds_and_all_other_conditions():
    every = list(conditions(GROUPS, at_look=lambda look: None))
    assert len(every) == len({one.key for one in every}) == 80 + 1 + 7 + 4 + 4 + 5 + len(LOOKS)
    assert {one.group for one in every} == set(GROUPS)
    assert [one.key for one in conditions(["fog", "look"], [2])] == ["weather/fog/2"]  # not every set has looks


def test_c_all_is_the_same_in_any_order_and_any_number_of_workers(split):
    queries = ImageDataset(named(split, "c_all/c_all").queries)
    alone = [image for image, _ in queries]
    backwards = Subset(queries, range(COUNT)[::-1])
    loaded = [image[0] for image, _ in DataLoader(backwards, batch_size=1, num_workers=2)]
    assert all(torch.equal(one, other) for one, other in zip(alone, loaded[::-1]))
    assert any(not torch.equal(image, split.queries.read(row)) for row, image in enumerate(alone))


@pytest.mark.parametrize("group", GROUPS[:-1])
def test_conditions_change_one_role_and_keep_its_sizes(group, split):
    one = next(conditions([group], [3]))
    changed = one.change(split)
    of_tiles = group in ("shift", "scale")
    assert (changed.queries is split.queries) == of_tiles and (changed.references is split.references) != of_tiles
    role = "references" if of_tiles else "queries"
    before, after = (getattr(each, role).read(0) for each in (split, changed))
    assert after.shape == before.shape and after.dtype == torch.uint8 and not torch.equal(before, after)
    assert changed.fingerprint() == split.fingerprint()


def test_crops_look_where_the_schedule_says():
    assert np.array_equal(heading_schedule(9), np.random.default_rng(HEADINGS_SEED).random(9))
    assert np.array_equal(heading_schedule(20)[:9], heading_schedule(9))
    assert heading_schedule(3) == pytest.approx([0.63696169, 0.26978671, 0.04097352])  # these numbers are written down
    panorama = np.arange(72 * 3, dtype=np.uint8).reshape(1, 72, 3)
    for fov in FOVS:
        width = int(72 * fov / 360)
        begin, seen = (72 - width) // 2, visible_part(panorama, fov, 0.25)
        expected = [(begin + column + 18) % 72 for column in range(width)]
        assert np.array_equal(seen[0, begin : begin + width], panorama[0, expected])
        hidden = np.delete(seen[0], slice(begin, begin + width), axis=0)
        assert (hidden == (124, 116, 104)).all()


def test_a_moved_tile_shows_what_lies_there():
    tile = np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8)
    seen = moved(tile, -2, 3)
    assert np.array_equal(seen[2:, :7], tile[:8, 3:]) and np.array_equal(seen[1, :7], tile[1, 3:])
    assert np.array_equal(moved(tile, 0, 0), tile)


def test_a_shift_is_as_far_as_its_level_says(split):
    for row in range(COUNT):
        near, far = (named(split, f"shift/tile off centre/{share}").references.read(row) for share in (5, 20))
        assert not torch.equal(near, far)


def test_panoramas_have_square_pixels_unless_they_were_rendered(split):
    assert vertical_degrees(split, 224, 1232) == pytest.approx(65.45, abs=0.01)
    assert vertical_degrees(split, 512, 700) == 180


def test_what_a_condition_leaves_alone_is_embedded_once_and_right(split, words, monkeypatch):
    model = open_model("worlds", words[1], words[2:])
    evaluator = robustness._evaluator(model.config, split)
    asked = []
    embed = evaluator.embed
    monkeypatch.setattr(evaluator, "embed", lambda split, roles: asked.append(roles) or embed(split, roles))
    measurement = Measurement(evaluator, split)
    for key, roles in (("fov/unknown heading/90", ["query"]), ("scale/tile cropped/50", ["reference"])):
        one = next(one for one in conditions(GROUPS) if one.key == key)
        found = measurement(one)
        assert asked[-1] == roles
        anew = Measurement(evaluator, one.change(split)).plain
        assert {**found, "seconds": 0} == {**anew, "seconds": 0}


def test_the_command_measures_writes_and_does_not_repeat(words, tmp_path, monkeypatch, capsys):
    command = ["worlds", *words, "--kinds", "fov", "contrast", "--severities", "5"]
    assert robustness_command(command) == 0
    printed = capsys.readouterr().out
    assert "R@1 in %" in printed and "unknown heading" in printed and "plain)" in printed and "look" not in printed
    folder, first = tmp_path / "runs/robustness-worlds", stored()
    assert set(first) == {"plain", "digital/contrast/5", *(one.key for one in conditions(["fov"]))}
    lines = (folder / "robustness-headings.csv").read_text().splitlines()
    assert lines[:2] == ["query,heading", "0.jpg,229.31"] and len(lines) == COUNT + 1
    assert "| unknown heading |" in (folder / "robustness.md").read_text() and (folder / "robustness.png").is_file()
    monkeypatch.setattr(robustness, "Measurement", None)  # nothing is measured again
    assert robustness_command(command) == 0 and stored() == first


def test_a_killed_measurement_goes_on_where_it_stopped(words, monkeypatch):
    command, measure, done = ["worlds", *words, "--kinds", "tilt"], Measurement.__call__, []

    def killed(self, condition):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(condition.key)
        return measure(self, condition)

    monkeypatch.setattr(Measurement, "__call__", killed)
    assert robustness_command(command) == 130
    assert set(stored()) == {"plain", *done}
    before, again = stored(), []
    monkeypatch.setattr(Measurement, "__call__", lambda self, one: again.append(one.key) or measure(self, one))
    assert robustness_command(command) == 0
    assert [*done, *again] == [one.key for one in conditions(["tilt"])]
    assert all(stored()[key] == before[key] for key in done)


def test_other_settings_are_measured_anew_and_models_stand_side_by_side(words, tmp_path, capsys):
    shutil.copytree(FOLDER / "worlds", tmp_path / "copy")
    command = ["worlds", "copy", *words, "--kinds", "c_all"]
    assert robustness_command(command) == 0
    content = json.loads((tmp_path / "runs/robustness/robustness.json").read_text())
    both = [model["conditions"] for model in content["models"].values()]
    assert list(content["models"]) == ["worlds", "copy"] and len(both[0]) == 2
    assert all({**one, "seconds": 0} == {**both[1][key], "seconds": 0} for key, one in both[0].items())
    assert (tmp_path / "copy/robustness.json").is_file()
    assert stored("copy/robustness.json") == both[1]
    capsys.readouterr()
    assert robustness_command(["copy", *words, "--kinds", "c_all", "--limit", "3"]) == 0
    assert "is measured anew" in capsys.readouterr().out
    assert stored("copy/robustness.json")["plain"]["num_queries"] == 3


def test_a_damaged_file_of_results_is_a_sentence(words, tmp_path, capsys):
    file = tmp_path / "runs/robustness-worlds/robustness.json"
    file.parent.mkdir(parents=True)
    for content in ('{"tests": {', '{"tests": 3}', "{}"):
        file.write_text(content)
        assert robustness_command(["worlds", *words, "--kinds", "c_all"]) == 1
        assert "Remove it, and measure anew" in capsys.readouterr().err


def test_a_sheet_shows_every_condition(words, tmp_path):
    assert robustness_command(["worlds", *words, "--severities", "5", "--sheet", "sheet.png"]) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1500 and sheet.height > 1000
    assert not (tmp_path / "runs").exists()


def test_looks_are_those_of_the_set_that_is_asked(monkeypatch):
    model, asked = open_model("worlds", "synth-suburb", ["--data.count", "7"]), []

    def load_splits(config):
        asked.append(config.data)
        return None, {"synth-suburb": "a split"}

    monkeypatch.setattr("geodtr_plugin.harness.data.load_splits", load_splits)
    split, found = robustness._prepared(model.config, ["look"], [1])
    assert [one.name for one in found] == list(LOOKS) and found[1].change(split) == "a split"
    assert asked == [{"count": 7}, {"count": 7, "look": "night"}]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("--kinds fogg", "no kind of condition 'fogg'"), ("--severities 6", "--severities names 6"),
        ("--kinds look", "Only synthetic worlds have looks"), ("--epochs 3", "trained already"),
        ("--data.look night", "look"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(words, more, what, capsys):
    assert robustness_command(["worlds", *words, *more.split()]) == 1
    assert what in capsys.readouterr().err
