"""How far the answers are from the truth, where a table says where the queries were taken."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.folder_csv import read_table
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError
from ..utils.geo import to_metres
from .locator import Answer, Match
from .photos import printable_name

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

    A row belongs to the query that is the same file; else, where the table's files lie elsewhere, to the queries of
    the same name if no other row has it.

    Args:
        file: the table.
        queries: their paths.

    Raises:
        DatasetNotFoundError: there is no such table.
        DatasetCorruptError: it has no positions, or a wrong one.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise DatasetNotFoundError(f"There is no table {printable_name(file)}.")
    table = read_table(file)
    if not table.has_positions:
        raise DatasetCorruptError(f"{printable_name(file)} names pairs.", "A truth needs rows file,lat,lon.")
    by_path: dict[str, Any] = {}
    by_name: dict[str, list[Any]] = {}
    for row in table.rows:
        if any(row.cells[1:]):
            by_path[os.path.realpath(file.parent / row.cells[0])] = table.position(row)
            if not row.cells[0].startswith("references/"):
                by_name.setdefault(os.path.basename(row.cells[0]), []).append(table.position(row))
    positions = {}
    for query in queries:
        same_name = by_name.get(os.path.basename(query), [])
        position = by_path.get(os.path.realpath(query)) or (same_name[0] if len(same_name) == 1 else None)
        if position is not None:
            positions[query] = position
    return LocationErrors(positions)
