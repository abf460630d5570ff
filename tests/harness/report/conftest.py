"""One short run for all tests of its report."""

from __future__ import annotations

import pytest

from geodtr_plugin.harness import run, settings

WORDS = "--train synth-suburb --test synth-suburb synth-downtown --data.count 8 --batch-size 4 --epochs 2 --device cpu"


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    """A run of GeoDTR+, trained and tested on eight places."""
    folder = tmp_path_factory.mktemp("report") / "run"
    run(settings(f"{WORDS} --evaluation.examples 0 --evaluation.every 1 --workers 0 --threads 1 --out {folder}"))
    return folder
