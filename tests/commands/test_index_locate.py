"""The commands `geodtr data write`, `geodtr index build` and `geodtr locate`, from a world to places on a map."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from geodtr_plugin.commands.data_write import Blocks, to_latlon, write_command
from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.datasets import load_split
from geodtr_plugin.harness import run as run_harness
from geodtr_plugin.harness import settings
from geodtr_plugin.utils.geo import to_metres

WORLD = "--train synth-suburb --data.count 32 --limit 32 --workers 0 --threads 1"


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """A written world, a run on it without training, and the index."""
    folder = tmp_path_factory.mktemp("city")
    assert write_command(f"synth-suburb --out {folder / 'my_city'} --count 32".split()) == 0
    run_harness(settings(f"--method geodtr_plus {WORLD} --epochs 1 --batch-size 8 --out {folder / 'run'}"))
    words = f"build --run {folder / 'run'} --references {folder / 'my_city'} -o {folder / 'city.index'} --device cpu"
    assert index_command(words.split()) == 0
    return folder


@pytest.mark.slow
def test_a_city_is_found_again(city, capsys, tmp_path):
    words = f"--index {city / 'city.index'} {city / 'my_city/queries'} --truth {city / 'my_city/places.csv'} --top 3"
    outputs = f"--format geojson --map {tmp_path / 'map.html'} --picture {tmp_path / 'sheet.png'}"
    assert locate_command(f"{words} {outputs} --device cpu".split()) == 0
    printed = capsys.readouterr()
    features = json.loads(printed.out)["features"]
    assert len(features) == 96 and all(-180 <= f["geometry"]["coordinates"][0] < -39 for f in features)
    firsts = [f["properties"] for f in features if f["properties"]["rank"] == 1]
    assert f"median {np.median([f['error_metres'] for f in firsts]):,.1f} m" in printed.err
    hits = sum(f["query"].split("-")[-1][:6] == f["path"].split("-")[-1][:6] for f in firsts)
    assert hits == sum(f["error_metres"] < 0.01 for f in firsts)  # a photo's true place is its own tile's
    results = json.loads((city / "run/results.json").read_text())
    assert hits / 32 == pytest.approx(_recall_at_1(results) / 100, abs=0.07)  # the city's panoramas are JPEGs
    assert "the first 20 of 32 photos" in printed.err and "32 photos located among 32 references." in printed.err
    assert (tmp_path / "map.html").is_file() and (tmp_path / "sheet.png").is_file()


def _recall_at_1(results) -> float:
    entry = results["tests"]["synth-suburb"]
    return (entry.get("best") or entry["last"] if "last" in entry else entry)["recall_at_1"]


@pytest.mark.slow
def test_the_written_city_is_own_data_with_true_distances(city):
    own = load_split(f"folder:{city / 'my_city'}", "test")
    world = load_split("synth-suburb", "test", count=32)
    assert len(own.references) == 32
    metres = to_metres(to_latlon(world.references.coordinates % 1000), "latlon")
    plain = world.references.coordinates % 1000
    np.testing.assert_allclose(
        np.linalg.norm(metres[:, None] - metres, axis=2), np.linalg.norm(plain[:, None] - plain, axis=2), rtol=1e-3
    )


def test_scenes_become_the_blocks_of_a_square():
    row = np.stack([np.arange(9) * 1000.0 + 100, np.full(9, 100_050.0)], axis=1)
    city = Blocks(row)(row)
    np.testing.assert_allclose(city, [(100 + 520 * (i % 3), 50 + 520 * (i // 3)) for i in range(9)])


@pytest.mark.parametrize(
    "command, words, sentence",
    [
        (index_command, "biuld", "Did you mean 'build'?"),
        (index_command, "build --run x --references y", "Either -o city.index, or --store"),
        (index_command, "build --run x --references y -o z --knd flat", "Did you mean --kind?"),
        (index_command, "build --run nowhere --references y -o z", "holds no config.json"),
        (locate_command, "--index nowhere a.jpg", "geodtr index build makes one"),
        (locate_command, "--index nowhere a.jpg --top 0", "1 at least"),
        (locate_command, "--index nowhere a.jpg --truth no.csv", "There is no table"),
        (write_command, "synth-suburbb --out nowhere", "Did you mean 'synth-suburb'?"),
        (write_command, "synth-suburb --out nowhere --count 0", "1 at least"),
    ],
)
def test_mistakes_are_answered_with_one_sentence(command, words, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(words.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and sentence in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom geodtr_plugin.commands.index import index_command\n"
        "from geodtr_plugin.commands.locate import locate_command\n"
        "from geodtr_plugin.commands.data_write import write_command\n"
        "for command, words in ((index_command, ['build']), (locate_command, []), (write_command, [])):\n"
        "    try:\n        command([*words, '--help'])\n    except SystemExit as e:\n        assert not e.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(option in done.stdout for option in ("--references", "--truth", "--count"))
