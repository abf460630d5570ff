"""The benchmark of speed runs as a command, its table is complete, and ours equals the peers where it must."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LINES = {  # component -> how many rows
    "launches: augmentation, tiles": 3,
    "launches: augmentation, polar": 3,
    "launches: network": 3,
    "launches: soft margin": 3,
    "launches: InfoNCE instead": 3,
    "launches: counterfactual loss": 3,
    "loss: forward and backward, both directions": 2,
    "loss: value and gradient, relative difference": 2,
    "loss: peak of memory": 1,
    "evaluation: against the bare matrix product": 1,
    "evaluation: against PML's AccuracyCalculator": 1,
    "evaluation: memory, against PML's": 1,
    "evaluation: R@1, difference to PML's": 1,
    "evaluation: CVACT's test set, bare product": 1,
    "augmentation: CHSG of a batch, two samples a pair": 1,
    "augmentation: share of the training step": 1,
    "step: plain fp32": 1,
    "step: bf16, against fp32": 1,
    "step: bf16, channels last, against fp32": 1,
    "loader: CHSG on the same core": 1,
    "loader: CHSG left to a GPU": 1,
    "loader: the same from the cache": 1,
    "compiled: bf16, channels last, against not compiled": 1,
}
FOR_A_GPU = "compiled: bf16, channels last, against not compiled"


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--device", "cpu", "--size", "miniature", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command with all its parts, and the table that it wrote."""
    folder = tmp_path_factory.mktemp("speed")
    done = run(folder, "--rounds", "1", "--csv", "table.csv")
    assert done.returncode == 0, done.stderr
    with (folder / "table.csv").open(encoding="utf-8") as file:
        return done.stdout, list(csv.DictReader(file))


@pytest.mark.slow
def test_the_table_has_all_lines(done):
    printed, rows = done
    components = [row["component"] for row in rows]
    assert {name: components.count(name) for name in dict.fromkeys(components)} == LINES
    assert all(name in printed for name in LINES)
    missing = [row for row in rows if not row["ours"]]
    assert [row["component"] for row in missing] == [FOR_A_GPU] and "not measured" in missing[0]["note"]


@pytest.mark.slow
def test_ours_equals_the_peers(done):
    differences = [float(row["ours"]) for row in done[1] if "difference" in row["component"]]
    assert len(differences) == 3 and max(differences) < 1e-5


@pytest.mark.slow
def test_ratios_are_those_of_the_figures(done):
    compared = [row for row in done[1] if row["ratio"]]
    assert len(compared) >= 11
    for row in compared:
        ours, peer = float(row["ours"]), float(row["peer"])
        assert float(row["ratio"]) == pytest.approx(ours / peer if row["unit"].endswith("/s") else peer / ours)


@pytest.mark.slow
def test_memory_is_the_peak_of_a_process_of_its_own(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from speed_parts.bench import Bench

    floats = Bench("cpu", "small", 1).peak("loss", "one_step", pairs=1024, whose="ours") / 4 / 1024**2
    assert 3 < floats < 16  # a matrix and its gradient at least; all triplets would be hundreds


def test_no_round_begins_after_the_longest_time(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from speed_parts import bench

    calls = []
    monkeypatch.setattr(bench.time, "perf_counter", lambda: 4.0 * len(calls))
    bench.Bench("cpu", "miniature", 1).seconds({"": lambda: calls.append(1)}, rounds=99)
    assert len(calls) == 3  # to warm up, and two rounds


@pytest.mark.slow
def test_rows_are_printed_as_they_are_measured():
    words = ["--device", "cpu", "--size", "miniature", "--what", "loss"]
    command = [sys.executable, "-u", str(BENCHMARKS / "speed.py"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        rows = (line for line in running.stdout if line.startswith("loss:"))
        next(rows)
        assert running.poll() is None, "it goes on after the first row"
        running.kill()


@pytest.mark.slow
def test_an_unknown_part_is_named(tmp_path):
    done = run(tmp_path, "--what", "loss,speed")
    assert done.returncode == 2 and "no part is called speed" in done.stderr
