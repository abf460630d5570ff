"""Train a method on one data set and test it on others: `python benchmarks/run.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

from geodtr_plugin.commands.run import run_command  # noqa: E402

if __name__ == "__main__":
    sys.exit(run_command())
