"""Own data without a table: a query and the reference of the same name, whatever their suffixes, are a pair."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..utils.errors import DatasetNotFoundError
from ..utils.paths import is_hidden, one_form, walk_files
from ..utils.roles import ROLE_FOLDERS
from .folder_csv import PAIRS, Row, Table

_REMEDY = "Give both images of a place one name, as queries/a.jpg and references/a.png, or write a table of pairs."
_SHOWN = 3  # names that a message lists


def pairs_by_name(folder: Path) -> Table:
    """Return the pairs of own data by the names of its files, sorted, then the references that no query shows.

    A name is the path below the folder of its role, without the suffix.

    Raises:
        DatasetNotFoundError: a query has no reference of its name, or a name stands for two files of a role.
    """
    queries, references = (_by_stem(folder / role) for role in ROLE_FOLDERS)
    alone = sorted(queries.keys() - references.keys())
    if alone:
        names = ", ".join(queries[stem] for stem in alone[:_SHOWN]) + (", ..." if len(alone) > _SHOWN else "")
        what = f"{folder} has no table, and no reference has the name of {len(alone):,} of {len(queries):,} queries"
        raise DatasetNotFoundError(f"{what} ({names}).", _REMEDY)
    unshown = sorted(references.keys() - queries.keys())
    pairs = [(queries[stem], references[stem]) for stem in sorted(queries)] + [("", references[s]) for s in unshown]
    return Table(folder, PAIRS, tuple(Row(number, pair) for number, pair in enumerate(pairs, start=1)))


def _by_stem(folder: Path) -> dict[str, str]:
    """Return the paths of a folder's files, hidden ones aside, by their names without suffix."""
    by_stem: dict[str, str] = {}
    for path in walk_files(folder):
        stem = one_form(str(PurePosixPath(path).with_suffix("")))
        if is_hidden(path):
            continue
        if by_stem.setdefault(stem, path) != path:
            both = f"{by_stem[stem]} and {path}"
            raise DatasetNotFoundError(f"{folder} has {both}, which may both be meant by the name {stem}.", _REMEDY)
    return by_stem
