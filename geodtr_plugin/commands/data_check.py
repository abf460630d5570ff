"""`geodtr data check NAME`: is this data set what its name says, whole and upright?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from ..datasets.check import DECODED
from ..datasets.registry import list_datasets, options_of
from ..utils.console import guarded, make_parser, parse, say
from ..utils.errors import UnknownNameError, UserError
from ..utils.figures import check_picture
from ..utils.outputs import check_output_file
from ..utils.registry import import_modules

if TYPE_CHECKING:
    from ..datasets.check import CheckedDataset

DESCRIPTION = """Check a data set on disk: lists, counts, missing files, image sizes, damaged images, and north.

  geodtr data check cvusa --data-root /data
  geodtr data check cvact --data-root /data --decode all --write-missing missing.txt --picture pairs.png

Prints one line a thing, faults first, and at the end the first thing to do. Exit code 0 if all is sound, else 1.
"""


def check_command(argv: Sequence[str]) -> int:
    """Run `geodtr data check`; return 0 when all is sound, 1 with a fault or after a sentence on what was wrong."""
    return guarded(lambda: _check(argv), argv)


def check_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = make_parser("geodtr data check", DESCRIPTION)
    add = parser.add_argument
    add("name", type=str, help=f"one of: {', '.join(list_datasets())}; folder:PATH for own data")
    add("--data-root", "--root", type=str | None, help="folder that holds the data set (else the variable GEODTR_DATA)")
    add("--decode", type=str, default=str(DECODED), help="images of each role and split to open, or all")
    add("--write-missing", type=str | None, help="file that gets the paths of missing images, one a line")
    add("--picture", type=str | None, help="image file that gets four pairs with north marked")
    add("--data", type=dict[str, Any], default={}, help="options of the data set's loader, as --data.count 800")
    add("--import", type=str, action="append", default=[], help="module or .py file with a data set of one's own")
    add("--seed", type=int, default=0, help="chooses the images that are looked at")
    add("--debug", action="store_true", help="show the traceback of errors")
    return parser


def _check(argv: Sequence[str]) -> int:
    options = parse(check_parser(), argv)
    import_modules(options["import"])
    decode = _count(options.decode)
    if options.write_missing is not None:
        check_output_file(options.write_missing)
    if options.picture is not None:
        check_picture(options.picture)
    known = options_of(options.name) - {"allow_partial"}
    for option in options.data:
        if option not in known:
            raise UnknownNameError(f"option of the data set {options.name}", option, known)
    from ..datasets.check import check_dataset

    checked = check_dataset(options.name, options.data_root, decode, options.seed, **options.data)
    say("\n".join(checked.report.lines()))
    if options.write_missing is not None:
        _write_missing(checked, Path(options.write_missing))
    if options.picture is not None:
        _draw(checked, Path(options.picture), options.seed)
    return 0 if checked.report.sound else 1


def _count(decode: str) -> int | None:
    """Return the number that --decode names; None for all."""
    if decode == "all":
        return None
    if not decode.isdecimal() or int(decode) < 1:
        raise UserError(f"--decode is {decode!r}.", "Give a number of images, 1 at least, or all.")
    return int(decode)


def _write_missing(checked: CheckedDataset, file: Path) -> None:
    from ..utils.files import write_text

    write_text(file, "".join(f"{path}\n" for path in checked.missing))
    say(f"{file} names {len(checked.missing):,} missing files.", error=True)


def _draw(checked: CheckedDataset, file: Path, seed: int) -> None:
    """Draw pairs of the test split, or of the other where that one could not be read."""
    if not checked.splits:
        raise UserError("There is no picture, because no split could be read.", "Mend what is named above first.")
    from .check_picture import draw_pairs

    draw_pairs(checked.splits[-1], file, seed=seed)
    say(f"{file} shows pairs with north marked.", error=True)
