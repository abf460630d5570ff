"""How far the answers are from the truth, where a table says where the queries were taken."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..datasets.folder_csv import Row, Table, read_table
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError
from ..utils.geo import to_metres
from ..utils.paths import one_form
from .matches import Answer, Match
from .photos import printable_name

Item = TypeVar("Item")
NEAR = (25.0, 100.0)  # metres; what place recognition counts as right, and about a block


@dataclass(frozen=True)
class LocationErrors:
    """Distances between the places that were answered and the true ones.

    Args:
        positions: true latitude and longitude in degrees by the path of the query, as `Answer.query` names it.
    """

    positions: dict[str, tuple[float, float]]

    def metres(self, answer: Answer, match: Match) -> float | None:
        """Return the distance from a match to the true place of its query; None where either is unknown."""
        true = self.positions.get(answer.query)
        if true is None or match.lat is None:
            return None
        here, there = to_metres(np.array([true, (match.lat, match.lon)]), "latlon")
        return float(np.linalg.norm(here - there))

    def summary(self, answers: Sequence[Answer]) -> str:
        """Return a sentence on the first matches: their median error, and how many are near."""
        firsts = [self.metres(answer, answer.matches[0]) for answer in answers if answer.matches]
        known = np.array([metres for metres in firsts if metres is not None])
        if not len(known):
            return "No photo has both a true position and a match with coordinates: there is no error to tell."
        shares = ", ".join(f"{100 * np.mean(known <= radius):.1f} % within {radius:g} m" for radius in NEAR)
        of = f"{len(known):,} of {len(firsts):,} photos" if len(known) < len(firsts) else f"{len(known):,} photos"
        return f"Error of the first match, {of}: median {np.median(known):,.1f} m, {shares}."


def read_truth(file: str | os.PathLike, queries: Sequence[str]) -> LocationErrors:
    """Read the positions that a table `file,lat,lon` gives the queries.

    A row belongs to the query that is the same file, by a path below the folder of the table or, in own data, below its
    queries; else, where the photos lie elsewhere, to the one query with the name of its file.

    Args:
        file: the table.
        queries: their paths.

    Raises:
        DatasetNotFoundError: there is no such table.
        DatasetCorruptError: it has no positions or a wrong one, or it is not clear which row belongs to a query.
    """
    file = Path(file).expanduser()
    if not os.path.isfile(file):
        raise DatasetNotFoundError(f"There is no table {printable_name(file)}.")
    table = read_table(file)
    if not table.has_positions:
        raise DatasetCorruptError(f"{printable_name(file)} names pairs.", "A truth needs rows file,lat,lon.")
    rows = [row for row in table.rows if any(row.cells[1:]) and not row.cells[0].startswith("references/")]
    positions = {row.line: table.position(row) for row in rows}
    by_path = {_same(file.parent / home / row.cells[0]): row for home in ("queries", "") for row in rows}
    owners = {query: row for query in queries if (row := by_path.get(_same(query))) is not None}
    taken = {row.line for row in owners.values()}
    left_rows = _by_name((row.cells[0], row) for row in rows if row.line not in taken)
    left_queries = _by_name((query, query) for query in queries if query not in owners)
    for name, alike in left_queries.items():
        candidates = left_rows.get(name, [])
        if len(alike) == len(candidates) == 1:
            owners[alike[0]] = candidates[0]
        elif candidates:
            raise _unclear(table, alike, candidates)
    return LocationErrors({query: positions[row.line] for query, row in owners.items()})


def _same(path: str | os.PathLike) -> str:
    """Return what two paths of one file have in common, whichever form of Unicode they are written in."""
    return one_form(os.path.realpath(path))


def _by_name(items: Iterable[tuple[str, Item]]) -> dict[str, list[Item]]:
    """Return the items of each last part of a path."""
    by_name: dict[str, list[Item]] = {}
    for path, item in items:
        by_name.setdefault(one_form(os.path.basename(path)), []).append(item)
    return by_name


def _unclear(table: Table, queries: Sequence[str], rows: Sequence[Row]) -> DatasetCorruptError:
    photos = ", ".join(map(printable_name, queries))
    lines = " or ".join(f"line {row.line} ({row.cells[0]})" for row in rows)
    return DatasetCorruptError(
        f"It is not clear which row of {printable_name(table.path)} belongs to {photos}: {lines}.",
        "Write paths that start from the folder of the table, or one table for each folder of photos.",
    )
