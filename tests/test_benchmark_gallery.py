"""The benchmarks of indexes run as commands; the laws that extrapolate find what they were made of."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geodtr_plugin.search import VectorIndex, learn_cells

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(folder: Path, script: str, words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(BENCHMARKS / script), *words.split()]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the command says after three small sizes, block by block."""
    words = "--counts 2500 3600 4900 --size 32 --queries 20 --rounds 1 --to 1e8 1e9 --shares 8 32 --machine-memory 64"
    folder = tmp_path_factory.mktemp("gallery")
    done = run(folder, "gallery.py", f"{words} --folder {folder}")
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir())
    return done.stdout.split("\n\n")


def test_measured_and_extrapolated_lines_are_told_apart(printed):
    ends = [line.split("  ")[-1] for block in printed for line in block.splitlines() if line[:3] in ("fla", "ivf")]
    assert [ends.count(how) for how in ("measured", "predicted", "EXTRAPOLATED")] == [15 + 5, 5, 10]
    measured, checked, laws, extrapolated, machines = printed[1:]
    assert measured.count("4,900") == 5 and "predicted" not in measured
    assert re.search(r"Predicted / measured: memory \d\.\d\d to .* recall off by 0\.\d+ at most\.$", checked)
    assert laws.startswith("Laws from all sizes:") and laws.count("vectors scanned") >= 2 and "gain" not in laws
    assert extrapolated.count("1,000,000,000") == 5 and "126,491" in extrapolated and "measured" not in extrapolated
    assert "EXTRAPOLATED" in machines.splitlines()[0]


def test_machines_are_enough_and_no_more_than_needed(printed):
    rows = [line.split() for line in printed[-1].splitlines()[2:]]
    assert [row[2] for row in rows if row[0] == "flat"] == ["1", "2"]  # 12.8 GB, and exactly 128 GB
    for _, _, machines, each, unit, *_ in rows:
        held = float(each.replace(",", "")) * {"GB": 1, "MB": 1e-3}[unit]
        assert held <= 64.01 and (int(machines) == 1 or held * int(machines) > 64 * (int(machines) - 1))


@pytest.fixture
def parts(monkeypatch):
    """The scripts and their parts can be imported."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_the_benchmark_of_one_size_runs(parts, capsys):
    from index import main

    assert main("--count 2000 --size 16 --queries 20 --rounds 1".split()) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[5:]]
    assert [row[0] for row in rows] == ["flat", "ivf", "ivf", "ivfpq", "ivfpq"]
    assert float(rows[0][-1]) == 1 and all(0.2 < float(row[-1]) <= 1 for row in rows)


def test_two_sizes_leave_nothing_to_check_and_one_is_refused(parts, capsys):
    from gallery import checked, parse

    rows = [made("flat", count) for count in (10**5, 10**6, 3 * 10**6)]
    assert "name three --counts" in checked(rows[:2])[0] and len(checked(rows[:2])) == 1
    assert checked(rows)[-1].startswith("Predicted / measured: memory 1.00 to 1.00, one 1.00 to 1.00, many 1.00")
    slower = [*rows[:2], replace(rows[2], one=2 * rows[2].one, recall=0.9)]
    assert "one 0.50 to 0.50" in checked(slower)[-1] and checked(slower)[-1].endswith("off by 0.100 at most.")
    for words in ("2500 2500", "100 2500"):
        with pytest.raises(SystemExit):
            parse(["--counts", *words.split()])
    assert parse(["--counts", "1e5", "1e6"]).counts == [100_000, 1_000_000]


def made(kind, count, one_in=16):
    """A line whose figures follow known laws."""
    from index_parts.figures import Figures
    from index_parts.laws import bytes_in_memory, found

    from geodtr_plugin.search.cells import cells_for

    cells = 0 if kind == "flat" else cells_for(count)
    code = {"flat": 0, "ivf": 1024, "ivfpq": 64}[kind]
    row = Figures(kind, count, 256, cells, one_in, code, 0, 0, 0, 0, 0, 1)
    if kind == "flat":
        return replace(row, memory=bytes_in_memory(row), one=3e-8 * count, many=2e-8 * count)
    return replace(
        row, memory=bytes_in_memory(row), train=1e-4 * 65_536 + 5e-8 * row.sample * cells,
        add=2e-6 * count + 3e-9 * count * cells, one=1e-4 + 2e-8 * cells + 6e-8 * row.scanned,
        many=3e-8 * cells + 5e-8 * row.scanned, recall=0.97 * found(row, 1.02),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["flat", "ivf", "ivfpq"])
def test_laws_find_what_the_figures_were_made_of(parts, kind):
    from index_parts.laws import Laws

    shares = [1] if kind == "flat" else [16, 64]
    laws = Laws([made(kind, count, one_in) for count in (10**5, 3 * 10**5, 10**6) for one_in in shares])
    for one_in in shares:
        wanted, guess = made(kind, 10**9, one_in), laws.at(10**9, one_in)
        for what in ("memory", "train", "add", "one", "many", "recall"):
            assert getattr(guess, what) == pytest.approx(getattr(wanted, what), rel=1e-3), what
    whole, part = laws.at(10**9, shares[0]), laws.at(10**9, shares[0], parts=10)
    assert (part.count, part.cells, part.recall) == (10**8, whole.cells, whole.recall)
    assert part.one < whole.one / 8 and whole.memory / 10 <= part.memory < whole.memory / 8


def test_growth_that_cannot_be_seen_is_told(parts):
    from index_parts.laws import Laws

    rows = [made("ivf", count) for count in (10**5, 3 * 10**5, 10**6)]
    assert Laws(rows).unseen() == []
    (told,) = Laws([replace(row, train=5 - row.count / 1e6) for row in rows]).unseen()
    assert told.startswith("No growth of ivf train with sample x cells can be seen")


@pytest.mark.parametrize("kind", ["ivf", "ivfpq"])
def test_bytes_are_those_of_the_file(parts, kind, tmp_path):
    from index_parts.laws import bytes_in_memory
    from index_parts.planted import unit

    vectors = unit(np.random.default_rng(0), 10_000, 4)  # enough for a codebook of 256 centres
    index = VectorIndex.build(vectors, cells=learn_cells(vectors, kind, nlist=100))
    index.save(tmp_path)
    code = index.approximate.code_size
    row = replace(made(kind, 10_000), size=4, cells=100, code=code)
    assert bytes_in_memory(row) == pytest.approx((tmp_path / VectorIndex.FILE).stat().st_size, rel=0.005)


def test_recall_follows_the_geometry_of_random_directions(parts):
    from index_parts.laws import found
    from index_parts.planted import COSINES, unit

    draw = np.random.default_rng(0)
    centres, queries = unit(draw, 500, 256), unit(draw, 300, 256)
    away = unit(draw, 3000, 256).reshape(300, 10, 256)
    away -= (away * queries[:, None]).sum(axis=2, keepdims=True) * queries[:, None]
    away /= np.linalg.norm(away, axis=2, keepdims=True)
    near = COSINES[:, None] * queries[:, None] + np.sqrt(1 - COSINES**2)[:, None] * away
    cells = (near @ centres.T).argmax(axis=2)
    ranks = (-queries @ centres.T).argsort(axis=1).argsort(axis=1)
    row = replace(made("ivf", 10**5), cells=500)
    for one_in in (4, 16, 64):
        share = (np.take_along_axis(ranks, cells, axis=1) < 500 // one_in).mean()
        assert found(replace(row, one_in=one_in)) == pytest.approx(share, abs=0.03)
    assert found(replace(row, one_in=1)) == 1
