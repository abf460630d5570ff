"""The ablations of the GeoDTR+ paper (Tables IV to VIII): `python benchmarks/ablations.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

from geodtr_plugin.comparison.ablations import ablations_command  # noqa: E402

if __name__ == "__main__":
    sys.exit(ablations_command())
