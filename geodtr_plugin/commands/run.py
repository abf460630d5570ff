"""`geodtr run`, which is `python benchmarks/run.py`: train and test, or go on after an interruption."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from ..utils.console import add_common_options, guarded, make_parser, parse_and_import

RESUMABLE = ("data_root", "device", "workers", "threads")  # what a resumed run may set anew


def run_command(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 after a sentence on what was wrong, 130 after Ctrl-C, or 143 after SIGTERM."""
    argv = list(sys.argv[1:] if argv is None else argv)
    resumes = any(word.split("=")[0] == "--resume" for word in argv)
    return guarded(lambda: _resume(argv) if resumes else _run(argv), argv)


def _run(argv: Sequence[str]) -> int:
    from ..harness.options import parse_run

    config, settings = parse_run(argv)
    from ..harness.launch import run
    from ..utils.distributed import destroy_process_group

    run(config, settings=settings, command=argv)
    destroy_process_group()
    return 0


def _resume(argv: Sequence[str]) -> int:
    options = parse_and_import(resume_parser(), argv)
    from ..harness.launch import resume
    from ..utils.distributed import destroy_process_group

    resume(Path(options.resume), options.epochs, **{name: options[name] for name in RESUMABLE})
    destroy_process_group()
    return 0


def resume_parser() -> ArgumentParser:
    """Return the options of `run.py --resume`."""
    parser = make_parser("run.py --resume RUN", "Continue an interrupted run, or train for more epochs.")
    add = parser.add_argument
    add("--resume", type=str, required=True, help="folder of the run")
    add("--epochs", type=int | None, help="train for so many in all; the schedule is stretched to them, and says so")
    add("--data-root", type=str | None, help="folder that holds the data sets, if it has moved")
    add("--device", type=str | None, help="auto, cpu, cuda, cuda:1, mps; as before if not given")
    add("--workers", type=int | None, help="processes that load images; as before if not given")
    add("--threads", type=int | None, help="threads of torch on the CPU; as before if not given")
    add_common_options(parser, "import", "debug")
    return parser
