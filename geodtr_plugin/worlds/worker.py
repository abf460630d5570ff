"""`python -m geodtr_plugin.worlds.worker FOLDER FIRST STEP`: renders every STEP-th scene of a prepared world.

A process of its own and not one of `multiprocessing`: it never imports the user's main script, which therefore needs
no `if __name__ == "__main__"`, and it does not load torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .cache import MANIFEST
from .drives import DriveSpec
from .pool import render_scenes
from .spec import Spec
from .world import WorldSpec


def read_spec(folder: Path) -> Spec:
    """Return the request that a folder was prepared for."""
    fields = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    del fields["version"]
    return {"WorldSpec": WorldSpec, "DriveSpec": DriveSpec}[fields.pop("kind")](**fields)


def main(folder: Path, first: int, step: int) -> None:
    """Render scenes, and print after each how many queries it has."""
    for queries in render_scenes(read_spec(folder), folder, first, step):
        print(queries, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
