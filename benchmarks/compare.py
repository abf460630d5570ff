"""Train and test several methods, or variants of one, over seeds: `python benchmarks/compare.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

from geodtr_plugin.comparison.compare import compare_command  # noqa: E402

if __name__ == "__main__":
    sys.exit(compare_command())
