"""Fine-tune trained weights on few pairs, against training without them: `python benchmarks/fine_tuning.py --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

from geodtr_plugin.comparison.fine_tuning import fine_tuning_command  # noqa: E402

if __name__ == "__main__":
    sys.exit(fine_tuning_command())
