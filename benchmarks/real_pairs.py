"""Measure trained models on a folder of one's own pairs: `python benchmarks/real_pairs.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

from geodtr_plugin.commands.real_pairs import real_pairs_command  # noqa: E402

if __name__ == "__main__":
    sys.exit(real_pairs_command())
