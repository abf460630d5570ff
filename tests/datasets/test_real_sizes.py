"""Lists of the real lengths, without images: split and truth must not take much memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from trees import cvusa_locations, write_act_mat

MOST_MEGABYTES = 1000
PROGRAM = """
import sys
from geodtr_plugin.datasets import load_split, role_files
role_files.DirectoryCache.locate = lambda self, path: path  # as if every image were there
peak = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
imported = peak()
for word in sys.argv[2:]:
    split = load_split(*word.split(":"), root=sys.argv[1])
    print(word, len(split.queries), len(split.truth), peak() - imported)
"""


def write_cvusa_lists(root: Path) -> None:
    """44,416 pairs, and 1,187 places that are listed twice."""
    for folder in ("bingmap/19", "streetview/panos", "splits"):
        (root / folder).mkdir(parents=True)
    draw = np.random.default_rng(0)
    ids = draw.permutation(44_516)[:44_416] + 1
    row = "bingmap/19/{0:07d}.jpg,streetview/panos/{0:07d}.jpg,streetview/annotations/{0:07d}.png\n"
    for split, part in {"train": ids[:35_532], "val": ids[35_532:]}.items():
        (root / f"splits/{split}-19zl.csv").write_text("".join(map(row.format, part.tolist())))
    table = cvusa_locations(45_516)
    first, second = draw.permutation(44_516)[: 2 * 1187].reshape(2, -1)
    table[first] = table[second]
    np.savetxt(root / "all.csv", table, fmt="%.6f", delimiter=",")


def write_cvact_lists(root: Path) -> None:
    """297,432 panoramas along streets, a few metres apart, of which the three splits take their shares."""
    (root / "ANU_data_small").mkdir()
    draw = np.random.default_rng(0)
    rows = draw.permutation(297_432)
    utm = np.cumsum(draw.normal(0, 5, (len(rows), 2)), axis=0) + [690_000, 6_090_000]
    train, test = rows[:35_532], rows[-92_802:]
    write_act_mat(root / "ACT_data.mat", [f"-{i:021d}" for i in range(len(rows))], utm, train, test[:8_884], test)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of its memory where Linux tells it")
def test_split_and_truth_are_built_in_little_memory(tmp_path):
    write_cvusa_lists(tmp_path)
    write_cvact_lists(tmp_path)
    counts = {"cvusa:train": 35_532, "cvusa:test": 8_884, "cvact:train": 35_532, "cvact-test:test": 92_802}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), *counts]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(counts)
    for line, count in zip(lines, counts.values()):
        queries, truth, megabytes = map(float, line.split()[1:])
        assert (queries, truth) == (count, count)
        assert megabytes < MOST_MEGABYTES, line
