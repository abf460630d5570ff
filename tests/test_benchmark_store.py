"""The benchmark of stores runs."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("resource", reason="the benchmark asks POSIX systems for memory")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_it_writes_and_searches(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("benchmark_store", BENCHMARKS / "store.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.parse([]).kind == "auto"
    queries, _ = module.make_vectors(tmp_path / "vectors.npy", 300, 16, 4)
    np.save(tmp_path / "queries.npy", queries)
    words = (f"milvus:{tmp_path / 'city.db'}", str(tmp_path), "flat")
    module.write(*words)
    module.search(*words)
    printed = capsys.readouterr().out
    assert re.search(r"written in \d+ s, indexed in .* GB of memory at most\nopened and searched once in", printed)
    assert re.findall(r"(\d+) references .* recall@10 ([\d.]+)", printed)[::3] == [("300", "1.000")] * 2
    sys.modules.pop("index_parts", None)
