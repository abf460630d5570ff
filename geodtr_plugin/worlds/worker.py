"""`python -m geodtr_plugin.worlds.worker FOLDER FIRST STEP`: renders every STEP-th scene of a prepared world.

A process of its own and not one of `multiprocessing`: it never imports the user's main script, which therefore needs
no `if __name__ == "__main__"`, and it does not load torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..utils.reading import read_json, understood
from ..utils.typed import typed
from .cache import MANIFEST
from .drives import DriveSpec
from .pool import render_scenes
from .spec import Spec
from .world import WorldSpec


def read_spec(folder: Path) -> Spec:
    """Return the request that a folder was prepared for.

    Raises:
        DamagedFileError: its manifest describes none.
    """
    fields = read_json(folder / MANIFEST)
    with understood(folder / MANIFEST):
        del fields["version"]
        kinds: dict[str, Any] = {"WorldSpec": WorldSpec, "DriveSpec": DriveSpec}
        return typed(kinds[fields.pop("kind")], fields, "the world")


def main(folder: Path, first: int, step: int) -> None:
    """Render scenes, and print after each how many queries it has."""
    for queries in render_scenes(read_spec(folder), folder, first, step):
        print(queries, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
