"""The command `paper`: the tables and figures of the GeoDTR+ paper by name."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from ...methods import METHODS
from ...utils.claims import claimed
from ...utils.console import complain, guarded, say
from ...utils.errors import UnknownNameError, UserError
from ..compare import compare_parser, parse_compare, parse_seeds
from .parts import PARTS, Part
from .runs import Workshop
from .sets import Sets

DESCRIPTION = """The tables and figures of the GeoDTR+ paper (Zhang et al., TPAMI 2024) by name.

  python benchmarks/paper.py table8
  python benchmarks/paper.py table1 table2 figure1 --data-root /data
  python benchmarks/paper.py all --list

{parts}
  all       everything

With --data-root, on the paper's data sets (CVUSA, CVACT, VIGOR; what is not there is left out); without it, on the
synthetic worlds, at the size of a laptop. Runs that are missing are trained, and shared by all tables and figures; the
same command again goes on where it stopped. Published numbers stand beside ours.

All other options are those of run.py and hold for all runs (python benchmarks/run.py --help).
"""
LAPTOP = ("--data.count", "1000")  # panoramas of each split of a world: all takes about three hours on two cores
REFUSED = {
    "--train": "Each table says what is trained on what; --data-root takes the paper's data sets.",
    "--test": "Each table says what is tested on what.",
    "--seed": "Name the seeds with --seeds.",
    "--resume": "The same command again resumes what was interrupted.",
}


def paper_command(argv: Sequence[str] | None = None) -> int:
    """Run `benchmarks/paper.py`; return 0, or 1 when something could not be made, after a message of what was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _paper(argv), argv)


def paper_parser() -> argparse.ArgumentParser:
    """Make a parser of the options that are not run.py's."""
    names = "\n".join(f"  {part.name:9} {part.title.split(': ', 1)[1]}" for part in PARTS.values())
    parser = compare_parser("paper.py", DESCRIPTION.format(parts=names), methods=False)
    parser.usage = "paper.py WHAT ... [--list] [--out FOLDER] [options]"
    parser.set_defaults(seeds=None)
    add = parser.add_argument
    add("--list", action="store_true", help="say what each needs, what is there, and how long the rest takes")
    add("--method", default="geodtr_plus", help="in the place of GeoDTR+ in tables 4 to 8 and figures 7 to 10")
    add("--methods", nargs="+", default=[], help="of tables 1 to 3, 7 and figure 1 (default: all with numbers)")
    add("--data-root", help="folder that holds the real data sets")
    return parser


def _paper(argv: Sequence[str]) -> int:
    parts, argv = chosen_parts(argv)
    options, words = parse_compare(paper_parser(), argv, REFUSED)
    shop = Workshop(
        root=Path(options.out or ("runs/paper" if options.data_root else "runs/paper-worlds")),
        sets=Sets(bool(options.data_root), options.data_root),
        shared=[*(("--data-root", options.data_root) if options.data_root else LAPTOP), *words],
        method=_known(options.method),
        methods=[_known(name) for word in options.methods for name in word.split(",") if name],
        seeds=tuple(parse_seeds(options.seeds)) if options.seeds else None,
    )
    if options.list:
        from .listing import listing

        say(listing(shop, parts))
        return 0
    with claimed(shop.root / ".lock", f"The folder {shop.root}"):
        return make(shop, parts)


def chosen_parts(argv: Sequence[str]) -> tuple[list[Part], list[str]]:
    """Return the parts that the first words name, in the order of the paper, and the options after them.

    Raises:
        UserError: there is no such part, or none is named.
    """
    names = list(takewhile(lambda word: not word.startswith("-"), argv))
    for name in names:
        if name not in (*PARTS, "all"):
            raise UnknownNameError("table or figure", name, [*PARTS, "all"])
    if not names and not {"-h", "--help"} & set(argv):
        raise UserError("No table or figure is named.", f"Begin with some of {', '.join(PARTS)}, or all.")
    return [part for name, part in PARTS.items() if name in names or "all" in names], list(argv[len(names) :])


def _known(method: str) -> str:
    return METHODS[method].method_name


def make(shop: Workshop, parts: Sequence[Part]) -> int:
    """Train what is missing, write the parts, and return the exit code; a part that cannot be made costs no other."""
    wrong = 0
    for part in parts:
        say(f"\n{part.title}")
        try:
            _check_sets(shop, part)
            shop.do(list(part.needs(shop)))
            say("Written: " + ", ".join(map(str, part.write(shop, part))))
        except UserError as error:
            complain(error)
            wrong += 1
    return 1 if wrong or any(shop.failures.values()) else 0


def _check_sets(shop: Workshop, part: Part) -> None:
    """Refuse a part of whose sets none is there, and say what is missing of the others."""
    lacking = {column: shop.sets.missing(column) for column in part.columns if shop.sets.of(column)}
    if lacking and all(lacking.values()):
        raise UserError(f"{part.title}: {' '.join(dict.fromkeys(lacking.values()))}")
    for message in dict.fromkeys(filter(None, lacking.values())):
        say(f"Left out: {message}")
