"""One run: from settings to parts to training to results.

`settings` turns the words of a command line into a `RunConfig`, `run` does it, `resume` goes on after an interruption.
"""

from __future__ import annotations

import shlex
from typing import Any

from .config import RunConfig

__all__ = ["RunConfig", "resume", "run", "settings"]


def settings(words: str) -> RunConfig:
    """Return the settings of `benchmarks/run.py` for the words of a command line.

    Raises:
        UserError: the words cannot be understood, or do not go together.
    """
    from .options import parse_run

    return parse_run(shlex.split(words))[0]


def run(config: RunConfig) -> dict[str, Any]:
    """Train and test; return the content of results.json.

    Raises:
        UserError: what is asked for is not there, or does not go together.
    """
    from . import launch

    return launch.run(config)


def resume(path: str) -> dict[str, Any]:
    """Go on with the interrupted run in a folder; return the content of results.json.

    Raises:
        UserError: there is no run in it, or nothing to go on from.
    """
    from . import launch

    return launch.resume(path)
