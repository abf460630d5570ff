"""The command on miniature folders and models: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import smooth_noise

from geodtr_plugin.commands.real_pairs import real_pairs_command

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "real_pairs.py"
COUNT = 6


@pytest.fixture
def city(tmp_path):
    """Six pairs by name, and a tile that no query shows."""
    folder = tmp_path / "city"
    for role, height, width in (("queries", 64, 128), ("references", 40, 40)):
        (folder / role).mkdir(parents=True)
        for number in range(COUNT + (role == "references")):
            picture = smooth_noise(role, number, height, width)
            Image.fromarray(picture).save(folder / role / f"place{number}.{'png' if role == 'references' else 'jpg'}")
    return folder


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures take longer than all else on miniature data."""
    monkeypatch.setattr("geodtr_plugin.search.zero_shot_sheet.draw_sheet", lambda *_: COUNT)


def measured(city, *words: str) -> dict:
    out = city.parent / "out"
    assert real_pairs_command([str(city), *words, "--out", str(out), "--device", "cpu"]) == 0
    return json.loads((out / "real_pairs.json").read_text())


def test_a_row_a_scale_of_each_model_and_a_picture_of_each_model(city, polar_run, run, capsys):
    weights = str(polar_run / "best.safetensors")
    found = measured(city, "--model", str(run), weights, "--test-scales", "1.0", "0.5", "--batch-size", "16")
    assert (found["queries"], found["tiles"]) == (COUNT, COUNT + 1)
    assert [(row["model"], row["scale"]) for row in found["rows"]] == [
        (str(run), 1.0), (str(run), 0.5), (weights, 1.0), (weights, 0.5)
    ]  # fmt: skip
    for row in found["rows"]:
        ranks = [query["rank"] for query in row["ranks"]]
        assert row["tiles"]["recall_at_5"] == pytest.approx(100 * np.mean([rank <= 5 for rank in ranks]))
        assert row["tiles"]["mean_normalised_rank"] == pytest.approx(np.mean([(rank - 1) / COUNT for rank in ranks]))
        own = [query["own_layout_found"] for query in row["ranks"]]
        assert row["layouts"]["own_layout_found"] == pytest.approx(100 * np.mean(own))
        assert all(query["rank"] <= query["rank_among_layouts"] <= 8 * (COUNT + 1) for query in row["ranks"])
    assert found["rows"][0]["ranks"] != found["rows"][1]["ranks"] and len(found["rows"][2]["sha256"]) == 64
    chance = found["chance"]
    assert chance["tiles"]["recall_at_1"] == pytest.approx(100 / 7) and chance["layouts"]["own_layout_found"] == 12.5
    assert chance["tiles"]["mean_normalised_rank"] == pytest.approx(0.5)
    printed = capsys.readouterr().out
    assert "Among 7 tiles\n" in printed and "Among 56 tiles, under the eight layouts\n" in printed
    assert printed.count("\nchance ") == 2 and printed.count(" 50 % ") == 4
    pictures = sorted((city.parent / "out").glob("*.png"))
    assert [path.name[:2] for path in pictures] == ["1-", "2-"]
    with Image.open(pictures[0]) as picture:
        assert picture.height > COUNT * 120 and np.asarray(picture.convert("L")).std() > 10


@pytest.mark.usefixtures("no_pictures")
def test_equal_commands_give_equal_results_and_another_seed_moves_no_rank(city, run):
    once, again = (measured(city, "--model", str(run)) for _ in range(2))
    other = measured(city, "--model", str(run), "--seed", "1")
    assert once == again and (once["seed"], other["seed"]) == (0, 1)
    assert once["rows"][0]["ranks"] == other["rows"][0]["ranks"]


@pytest.mark.usefixtures("no_pictures")
def test_rows_of_full_panoramas_are_what_cut_ones_show(city, run, tmp_path):
    whole = measured(city, "--model", str(run), "--panorama-rows", "0.25", "0.75")
    for path in (city / "queries").glob("*.jpg"):
        pixels = np.asarray(Image.open(path))
        path.unlink()
        Image.fromarray(pixels[16:48]).save(path.with_suffix(".png"))
    cut = measured(city, "--model", str(run))
    names = [[query.pop("query").split(".")[0] for query in found["rows"][0]["ranks"]] for found in (whole, cut)]
    assert names[0] == names[1] and whole["rows"] == cut["rows"] and whole["panorama_rows"] == [0.25, 0.75]


@pytest.mark.usefixtures("no_pictures")
def test_all_places_of_a_table_are_measured(city, run):
    lines = [f"place{i}.jpg,place{(i + 1) % COUNT}.png" for i in range(COUNT)]
    (city / "places.csv").write_text("query,reference\n" + "\n".join(lines) + "\n")
    found = measured(city, "--model", str(run))
    assert (found["queries"], found["tiles"]) == (COUNT, COUNT)  # the table names no distractor
    by_name = city / "test.csv"
    by_name.write_text("query,reference\nplace0.jpg,place0.png\nplace1.jpg,place1.png\n")
    assert measured(city, "--model", str(run))["queries"] == 2


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--test-scales", "1.0", "1.2"], "--test-scales has 1.2. Give parts of the tiles' side"),
        (["--test-scales", "0.1"], "0.1 of a tile of 40 pixels is too small"),
        (["--panorama-rows", "0.8", "0.2"], "no part of a panorama's height"),
        (["--batch-size", "0"], "--batch-size must be 1 at least"),
    ],
)
def test_what_cannot_be_measured_is_refused(city, run, words, what, capsys):
    assert real_pairs_command([str(city), "--model", str(run), *words, "--device", "cpu"]) == 1
    assert what in capsys.readouterr().err


def spoil(city, kind: str) -> None:
    if kind == "offset":
        (city / "dataset.json").write_text('{"centred": false}')
    if kind == "oblong":
        Image.fromarray(smooth_noise("references", 9, 40, 44)).save(city / "references/place0.png")
    if kind == "damaged":
        (city / "references/place3.png").write_bytes((city / "references/place3.png").read_bytes()[:200])
    if kind == "lonely":
        for number in range(1, COUNT + 1):
            (city / f"queries/place{number}.jpg").unlink(missing_ok=True)
            (city / f"references/place{number}.png").unlink()


@pytest.mark.parametrize(
    ("kind", "what"),
    [("offset", "says that cameras are not at the centres"), ("oblong", "40 x 44 pixels is no square"),
     ("damaged", "is damaged"), ("lonely", "has one tile")],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_refused_and_nothing_is_written(city, run, kind, what, capsys):
    spoil(city, kind)
    words = [str(city), "--model", str(run), "--out", str(city.parent / "out"), "--device", "cpu"]
    assert real_pairs_command(words) == 1
    assert what in capsys.readouterr().err and not (city.parent / "out").exists()


def test_a_model_that_is_not_there_is_named_before_any_work(city, run, tmp_path, capsys):
    words = [str(city), "--model", str(run), "nowhere", "--out", str(tmp_path / "out")]
    assert real_pairs_command(words) == 1
    printed = capsys.readouterr()
    assert "nowhere holds no config.json" in printed.err and not printed.out


def test_the_script_shows_its_options_without_torch():
    code = (
        "import sys, runpy; sys.argv = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\nexcept SystemExit: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0 and "--test-scales" in done.stdout, done.stderr


def test_a_picture_that_fails_costs_a_warning(city, run, monkeypatch, caplog):
    def fail(*_, **__):
        raise ValueError("no ink")

    monkeypatch.setattr("geodtr_plugin.search.zero_shot_sheet.save_figure", fail)
    assert measured(city, "--model", str(run))["queries"] == COUNT
    assert "no ink" in caplog.text and not list((city.parent / "out").glob("*.png"))
