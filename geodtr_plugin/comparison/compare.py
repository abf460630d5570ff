"""A matrix of runs: several methods, or variants of one, under the same rules and over several seeds."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ..methods import list_methods
from ..utils.claims import claimed
from ..utils.console import complain, guarded, say
from ..utils.errors import UserError
from .jobs import Failure, Job, Variant, check_settings, plan, run_job

DESCRIPTION = """Train and test several methods, or variants of one, over several seeds, and compare them.

  python benchmarks/compare.py --methods simple,safa,geodtr_plus --train synth-suburb --test synth-suburb synth-downtown
  python benchmarks/compare.py --methods geodtr_plus,geodtr_plus:chsg=raw --train cvusa --test cvusa cvact

An entry of --methods is a method, followed by options of run.py for this entry alone, each after a colon:
geodtr_plus:chsg=ls:model.descriptors=4 is run.py's --method geodtr_plus --chsg ls --model.descriptors 4.
All other options are those of run.py and hold for every entry (python benchmarks/run.py --help lists them).

Each run lives in OUT/ENTRY/seed-N. The same command again goes on where it stopped: finished runs are not repeated,
interrupted ones are resumed. OUT gets table.md, table.csv and plot.png.
"""
REFUSED = {
    "--method": "Name the entries with --methods.",
    "--seed": "Name the seeds with --seeds.",
    "--resume": "The same command again resumes what was interrupted.",
}


def compare_command(argv: Sequence[str] | None = None) -> int:
    """Run `benchmarks/compare.py`; return 0, or 1 when a run failed or after a message of what was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _compare(argv), argv)


def _compare(argv: Sequence[str]) -> int:
    options, shared = parse_compare(compare_parser(), argv)
    if not options.methods:
        raise UserError("There is nothing to compare.", f"Name some with --methods, of {', '.join(list_methods())}.")
    return compare(parse_entries(options.methods), parse_seeds(options.seeds), shared, options.out)


class Parser(argparse.ArgumentParser):
    """A parser that raises `UserError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[0].upper()}{message[1:]}.", "--help lists the options.")


def compare_parser(
    prog: str = "compare.py", description: str = DESCRIPTION, methods: bool = True
) -> argparse.ArgumentParser:
    """Make a parser of the options that are not run.py's."""
    parser = Parser(prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter,
                    allow_abbrev=False)  # fmt: skip
    if methods:
        known = ", ".join(list_methods())
        parser.add_argument("--methods", nargs="+", help=f"entries, with commas or spaces; methods: {known}")
    parser.add_argument("--seeds", default="3", help="3: the seeds 0, 1 and 2; 4,7: these; 4,: this one (default: 3)")
    parser.add_argument("--out", help="folder of the comparison (default: runs/compare-TRAIN)")
    return parser


def parse_compare(
    parser: argparse.ArgumentParser, argv: Sequence[str], refused: Mapping[str, str] = REFUSED
) -> tuple[argparse.Namespace, list[str]]:
    """Return the comparison's own options, and the words that are left for run.py.

    Args:
        parser: of the comparison's own options.
        argv: the words of the command line.
        refused: options of run.py that mean nothing here, and what to do instead.

    Raises:
        UserError: an option of run.py means nothing to a comparison.
    """
    options, shared = parser.parse_known_args(argv)
    for option in (word.split("=")[0] for word in shared):
        if option in refused:
            raise UserError(f"{option} is an option of run.py alone.", refused[option])
    return options, shared


def parse_entries(words: Sequence[str]) -> list[Variant]:
    """Parse entries, separated by words or by commas; commas within brackets belong to a value."""
    texts = [text for word in words for text in re.split(r",(?![^\[]*\])", word) if text]
    return [Variant.parse(text) for text in dict.fromkeys(texts)]


def parse_seeds(text: str) -> list[int]:
    """Return the seeds: `3` is 0, 1 and 2; `4,7` and `4,` are these.

    Raises:
        UserError: the text names none.
    """
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers or ("," not in text and numbers[0] < 1):
        raise UserError(f"--seeds is {text!r}.", "Give how many there are to be, as 3, or which, as 0,1,2.")
    return list(dict.fromkeys(numbers)) if "," in text else list(range(numbers[0]))


def compare(
    entries: Sequence[Variant], seeds: Sequence[int], shared: Sequence[str], out: str | None = None,
    published: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None, stem: str = "compare",
) -> int:  # fmt: skip
    """Do what is left of the matrix, report on all of it, and return the exit code.

    Args:
        entries: what to compare.
        seeds: each entry is trained with each.
        shared: run.py's options for all entries.
        out: folder of the comparison; None makes one below `runs/` that follows from `stem` and the training set.
        published: percent by label and test set, instead of the methods' own numbers.
        stem: what the folder's name begins with.

    Raises:
        UserError: an entry cannot be run, a run in the folder has other settings, or another comparison is at work.
    """
    root = Path(out) if out else _default_folder(entries[0], shared, stem)
    jobs = [plan(entry, seed, shared, root) for seed in seeds for entry in entries]
    for job in jobs:
        check_settings(job)
    with claimed(root / ".lock", f"The comparison {root}"):
        done, begun = sum(job.done for job in jobs), sum(job.begun for job in jobs)
        say(f"{len(jobs)} runs in {root}: {done} done before, {begun} to resume, {len(jobs) - done - begun} to begin")
        return _work(jobs, root, published)


def _work(jobs: Sequence[Job], root: Path, published: Mapping | None) -> int:
    from .report import Report

    entries = list(dict.fromkeys(job.entry for job in jobs))
    report = Report(root, {e: {job.seed: job.folder for job in jobs if job.entry == e} for e in entries}, published)

    def look(failures: Sequence[Failure]) -> None:
        report.failures = list(failures)
        report.write_tables()  # whoever looks in between sees what is done so far

    report.failures = do_jobs(jobs, look)
    say(f"\n{report.finish()}")
    return 1 if report.failures else 0


def do_jobs(jobs: Sequence[Job], after_each: Callable[[Sequence[Failure]], None] | None = None) -> list[Failure]:
    """Do the runs that are not done yet, one after the other; return those that failed.

    Args:
        jobs: the runs.
        after_each: called with what has failed so far once a run has ended.
    """
    failures: list[Failure] = []
    for number, job in enumerate(jobs, 1):
        name = f"[{number}/{len(jobs)}] {job.entry.label}, seed {job.seed}"
        say(f"\n{name}: {'done before' if job.done else 'resumed' if job.begun else 'begins'}")
        if job.done:
            continue
        try:
            run_job(job)
        except UserError as error:
            complain(error)
            failures.append((job.entry.label, job.seed, str(error)))
            _remove_if_empty(job.folder.path.parent)
        except KeyboardInterrupt:
            say("\nThe same command goes on where this one stopped.", error=True)
            raise
        if after_each is not None:
            after_each(failures)
    return failures


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder of an entry whose runs could not start."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _default_folder(entry: Variant, shared: Sequence[str], stem: str) -> Path:
    trained = plan(entry, 0, shared, Path("runs")).config.train
    return Path("runs") / f"{stem}-{re.sub('[^A-Za-z0-9_.-]+', '-', '+'.join(trained) or 'evaluate')[-60:]}"
