"""The tables and figures of the GeoDTR+ paper by name: `python benchmarks/paper.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

from geodtr_plugin.comparison.paper.command import paper_command  # noqa: E402

if __name__ == "__main__":
    sys.exit(paper_command())
