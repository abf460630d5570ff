"""The benchmark of the loader runs as a command and prints a row a way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "loader.py"


def test_the_command_prints_a_table(tmp_path):
    command = [sys.executable, str(SCRIPT), "--images", "3", "--pairs", "4", "--rounds", "1", "--batch-size", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.rsplit(maxsplit=4) for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == [
        "the authors' way", "ours, on this core", "ours, for a GPU", "ours, from the cache"
    ]  # fmt: skip
    rates, milliseconds, times, floors = zip(*([float(number) for number in row[1:]] for row in rows))
    assert floors == (1, 3, 8, 20) and times[0] == 1
    assert all(abs(rate * cost - 1000) < 60 for rate, cost in zip(rates, milliseconds))
    assert times[3] > times[2] > 1
