"""The benchmark of speed runs as a command, its table is complete, and ours equals the peers where it must."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LINES = {  # component -> how many rows
    "loss: forward and backward, both directions": 2,
    "loss: value and gradient, relative difference": 2,
    "loss: peak memory, in N^2 floats": 1,
    "evaluation: against the bare matrix product": 1,
    "evaluation: memory beside the embeddings": 1,
    "evaluation: against PML's AccuracyCalculator": 1,
    "evaluation: memory, against PML's": 1,
    "evaluation: R@1, difference to PML's": 1,
    "evaluation: against the authors' rule": 1,
    "evaluation: R@K, difference to the authors' rule": 1,
    "evaluation: CVACT's test set, bare product": 1,
    "augmentation: CHSG of a batch, two samples a pair": 1,
    "augmentation: share of the training step": 1,
    "augmentation: brightness, levels from torchvision's": 1,
    "augmentation: contrast, levels from torchvision's": 1,
    "augmentation: saturation, levels from torchvision's": 1,
    "augmentation: grayscale, levels from torchvision's": 1,
    "augmentation: posterize, levels from torchvision's": 1,
    "augmentation: blur, levels from torchvision's": 1,
    "augmentation: layout, levels from torchvision's": 1,
    "step: bf16, against fp32": 1,
    "step: bf16, channels last, against fp32": 1,
    "step: bf16, channels last, compiled, against fp32": 1,
    "step: times the host waits for the GPU": 1,
    "micro-batch: loss in fp32, relative difference": 1,
    "micro-batch: gradient in float64, relative difference": 1,
    "micro-batch: gradient in fp32, relative difference": 1,
    "micro-batch: gradient in fp32, from float64": 1,
    "micro-batch: peak memory, against a plain batch": 1,
    "start: benchmarks/run.py --help": 1,
    "start: import geodtr_plugin": 1,
}
EQUALITIES = ("difference", "levels from")  # rows that say how far ours is off


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--device", "cpu", "--size", "miniature", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command with all its parts, and the table that it wrote."""
    folder = tmp_path_factory.mktemp("speed")
    done = run(folder, "--rounds", "1", "--csv", "table.csv")
    assert done.returncode == 0, done.stderr
    with (folder / "table.csv").open() as file:
        return done.stdout, list(csv.DictReader(file))


def test_the_table_has_all_lines(done):
    printed, rows = done
    found = [row["component"] for row in rows]
    assert {name: found.count(name) for name in dict.fromkeys(found)} == LINES
    for name in LINES:
        assert name in printed


def test_everything_that_needs_no_gpu_is_measured(done):
    missing = {row["component"] for row in done[1] if not row["ours"]}
    assert missing == {"step: bf16, channels last, compiled, against fp32", "step: times the host waits for the GPU"}
    assert all("not measured" in row["note"] for row in done[1] if row["component"] in missing)


def test_ours_equals_the_peers(done):
    equalities = [row for row in done[1] if any(word in row["component"] for word in EQUALITIES) and row["floor"]]
    assert len(equalities) == 13
    assert all(row["met"] == "yes" for row in equalities), equalities


def test_ratios_are_those_of_the_figures(done):
    compared = [row for row in done[1] if row["ratio"]]
    assert len(compared) >= 12
    for row in compared:
        ours, peer = float(row["ours"]), float(row["peer"])
        more_is_better = row["unit"].endswith("/s") or row["rule"] == "within"
        assert float(row["ratio"]) == pytest.approx(ours / peer if more_is_better else peer / ours)


@pytest.fixture
def parts(monkeypatch):
    """The folder of the parts can be imported from."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_floors_are_judged_by_their_rule(parts):
    from speed_parts.rows import Row

    def met(ours, peer, floor, rule="faster", unit="s"):
        return Row("", "", ours, peer, unit, floor, rule).met

    assert met(1, 3, 3) and not met(1, 2.9, 3)
    assert met(3, 1, 3, unit="pairs/s") and not met(1, 3, 3, unit="pairs/s")
    assert met(1.2, 1, 1.25, "within") and not met(1.3, 1, 1.25, "within")
    assert met(0, None, 0, "below") and not met(2, None, 1, "below")
    assert met(1, 2, None) is None and met(None, 1, 3) is None


def test_memory_is_the_peak_of_a_process_of_its_own(parts):
    from speed_parts.measure import Bench

    floats = Bench("cpu", "small", 1).peak("loss", "one_step", pairs=1024, whose="ours") / 4 / 1024**2
    assert 3 < floats < 16  # a matrix and its gradient at least; all triplets would be hundreds


def test_an_unknown_part_is_named(tmp_path):
    done = run(tmp_path, "--what", "loss,speed")
    assert done.returncode == 2 and "no part is called speed" in done.stderr
