"""Measure how robust trained models are, under one protocol for all: `python benchmarks/robustness.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

from geodtr_plugin.comparison.robustness import robustness_command  # noqa: E402

if __name__ == "__main__":
    sys.exit(robustness_command())
