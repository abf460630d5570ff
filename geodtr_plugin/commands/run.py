"""`geodtr run`, which is `python benchmarks/run.py`: train and test, or go on after an interruption."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from ..utils.console import guarded, make_parser, parse

RESUMABLE = ("data_root", "device", "workers", "threads")  # what a resumed run may set anew


def run_command(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 after a sentence that says what was wrong, or 130 after Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # OpenMP threads wait by spinning, which makes a step three times slower as soon as another program wants a core;
    # so few turns cost nothing on an idle machine
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    resumes = any(word.split("=")[0] == "--resume" for word in argv)
    return guarded(lambda: _resume(argv) if resumes else _run(argv), argv)


def _run(argv: Sequence[str]) -> int:
    from ..harness.options import parse_run

    config, settings = parse_run(argv)
    from ..harness.runner import run
    from ..utils.distributed import destroy_process_group

    run(config, settings=settings, command=argv)
    destroy_process_group()
    return 0


def _resume(argv: Sequence[str]) -> int:
    options = parse(resume_parser(), argv)
    from ..harness.runner import resume
    from ..utils.distributed import destroy_process_group
    from ..utils.registry import import_modules

    import_modules(options["import"])
    resume(Path(options.resume), **{name: options[name] for name in RESUMABLE})
    destroy_process_group()
    return 0


def resume_parser() -> ArgumentParser:
    """Return the options of `run.py --resume`."""
    parser = make_parser("run.py --resume RUN", "Continue an interrupted run from its last complete epoch.")
    parser.add_argument("--resume", type=str, required=True, help="folder of the run")
    parser.add_argument("--import", type=str, action="append", default=[], help="as the run was begun with")
    parser.add_argument("--data-root", type=str | None, help="folder that holds the data sets, if it has moved")
    parser.add_argument("--device", type=str | None, help="auto, cpu, cuda, cuda:1, mps; as before if not given")
    parser.add_argument("--workers", type=int | None, help="processes that load images; as before if not given")
    parser.add_argument("--threads", type=int | None, help="threads of torch on the CPU; as before if not given")
    parser.add_argument("--debug", action="store_true", help="show the traceback of errors")
    return parser
