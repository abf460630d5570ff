"""`python -m geodtr_plugin.worlds.worker FOLDER FIRST STEP`: renders every STEP-th scene of a prepared world.

A process of its own and not one of `multiprocessing`: it never imports the user's main script, which therefore needs
no `if __name__ == "__main__"`, and it does not load torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .cache import open_arrays, read_manifest
from .jobs import render_part, spec_of


def main(folder: Path, first: int, step: int) -> None:
    """Prints the number of finished panoramas after every scene."""
    spec = spec_of(read_manifest(folder))
    arrays = open_arrays(folder, spec, mode="r+")
    for number in range(first, spec.scenes, step):
        print(render_part(spec, number, arrays), flush=True)
    for array in arrays.values():
        array.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
