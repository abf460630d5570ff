"""How long a user waits for the first sign of life."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .measure import Bench
from .rows import Row

ROOT = Path(__file__).resolve().parents[2]
IMPORT = "import time; begun = time.perf_counter(); import geodtr_plugin; print(time.perf_counter() - begun)"
HELP_FLOOR, IMPORT_FLOOR = 1.0, 0.1  # seconds


def measure(bench: Bench) -> Iterator[Row]:
    """Seconds on the clock; the fastest of several starts, since other programs can only make them slower."""
    starts = bench.choose(miniature=1, small=7, real=7)
    waited = min(seconds_of_help() for _ in range(starts))
    yield Row("start: benchmarks/run.py --help", f"fastest of {starts}", waited, floor=HELP_FLOOR, rule="below")
    waited = min(seconds_of_import() for _ in range(starts))
    yield Row("start: import geodtr_plugin", f"fastest of {starts}", waited, floor=IMPORT_FLOOR, rule="below")


def seconds_of_help() -> float:
    """From the start of the process to its end."""
    begun = time.perf_counter()
    run("benchmarks/run.py", "--help")
    return time.perf_counter() - begun


def seconds_of_import() -> float:
    """Of the import alone, in a new process."""
    return float(run("-c", IMPORT))


def run(*words: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
