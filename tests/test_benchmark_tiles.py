"""The benchmark of cutting tiles runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest


@pytest.mark.parametrize("words", ["--workers 2", "--overviews --resolution 0.5"])
def test_it_runs(words, tmp_path, capsys):
    file = Path(__file__).parents[1] / "benchmarks/tiles.py"
    spec = importlib.util.spec_from_file_location("benchmark_tiles", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--count", "150", "--folder", str(tmp_path), *words.split()]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"Written 0.00 giga.*are cut from ground.tif.*tiles \(\d+ of them without data\)", printed, re.S)
    assert re.search(r"Read [\d.]+ times", printed)
    assert list(tmp_path.iterdir()) == []
