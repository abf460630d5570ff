"""From a recipe to a run to results: what `benchmarks/run.py` and the console script call.

`settings` turns the words of a command line into a `RunConfig`, `run` does it, `resume` goes on after an interruption.
"""

from __future__ import annotations

from .config import RunConfig

__all__ = ["RunConfig", "resume", "run", "settings"]


def settings(words: str) -> RunConfig:
    """What `benchmarks/run.py` would do if it were called with these words."""
    import shlex

    from .settings import parse_run

    return parse_run(shlex.split(words))[0]


def run(config: RunConfig) -> dict:
    """Train and test; returns the content of results.json."""
    from . import runner

    return runner.run(config)


def resume(path: str) -> dict:
    """Go on with the interrupted run in a folder."""
    from . import runner

    return runner.resume(path)
