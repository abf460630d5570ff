"""What an own table says: which images there are, which references are right, and what is one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..evaluation.truth import Truth
from ..utils.errors import DatasetNotFoundError, UserError
from ..utils.ragged import Ragged
from ..utils.roles import ROLE_FOLDERS
from .aligned import DirectoryCache
from .folder_csv import Row, Table
from .near import nearest, within
from .places import label_places


@dataclass(frozen=True, eq=False)
class FolderContents:
    """Everything that an Split needs, before it is split.

    Args:
        queries: paths below the folder queries.
        references: paths below the folder references.
        pairs: training pairs, int64 `[P, 2]`.
        query_places: place label of every query.
        reference_places: place label of every reference.
        truth: which references are right.
        at_queries: latitude and longitude, `[N, 2]`, or None.
        at_references: the same of the references.
        notes: what a reader of the results must know.
    """

    queries: list[str]
    references: list[str]
    pairs: np.ndarray
    query_places: np.ndarray
    reference_places: np.ndarray
    truth: Truth
    at_queries: np.ndarray | None = None
    at_references: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def with_pairs(self, pairs: np.ndarray) -> FolderContents:
        """The same with other training pairs."""
        return replace(self, pairs=pairs)

    def of_queries(self, rows: np.ndarray) -> FolderContents:
        """Some queries (rising rows) and their pairs against the same references."""
        pairs = self.pairs[np.isin(self.pairs[:, 0], rows)]
        return replace(
            self,
            queries=[self.queries[i] for i in rows],
            pairs=np.stack([np.searchsorted(rows, pairs[:, 0]), pairs[:, 1]], axis=1),
            query_places=self.query_places[rows],
            truth=self.truth.take(rows),
            at_queries=None if self.at_queries is None else self.at_queries[rows],
        )

    def of_pairs(self) -> FolderContents:
        """The queries and references that pairs name, and no others."""
        part = self.of_queries(np.unique(self.pairs[:, 0]))
        rows = np.unique(part.pairs[:, 1])
        return replace(
            part,
            references=[self.references[i] for i in rows],
            pairs=np.stack([part.pairs[:, 0], np.searchsorted(rows, part.pairs[:, 1])], axis=1),
            reference_places=self.reference_places[rows],
            truth=part.truth.keep_references(rows, len(self.references)),
            at_references=None if self.at_references is None else self.at_references[rows],
        )


def material_of(table: Table, folder: Path, radius: float) -> FolderContents:
    """Reads the rows, and checks that every file that they name is there."""
    listings = tuple(DirectoryCache(folder / role) for role in ROLE_FOLDERS)
    return _by_position(table, listings, radius) if table.has_positions else _by_pair(table, listings)


def _by_position(table: Table, listings: Sequence[DirectoryCache], radius: float) -> FolderContents:
    found: tuple[dict, dict] = ({}, {})
    for row in table.rows:
        position = table.position(row)
        for role, path in _files_of(table, row, listings):
            if path in found[role]:
                raise table.fault(row, f"names {ROLE_FOLDERS[role]}/{path} for the second time; take one of the lines out.")
            found[role][path] = position
    for role, paths in zip(ROLE_FOLDERS, found):
        if not paths:
            raise UserError(f"{table.path} gives no position of a file in {role}. Both roles need rows file,lat,lon.")
    (queries, references), (at_queries, at_references) = map(list, found), (np.array([*p.values()]) for p in found)
    truth = Truth(within(at_queries, at_references, radius, "latlon"))
    closest, metres = nearest(at_queries, at_references, "latlon")
    near = metres <= radius
    if not near.any():
        row = int(np.argmin(metres))
        raise UserError(
            f"No query of {table.path} has a reference within {radius:g} m; the nearest are {queries[row]} and "
            f"{references[closest[row]]}, {metres[row]:,.0f} m apart. Check whether latitude and longitude have been "
            "swapped in some rows, or set a larger radius (--data.radius)."
        )
    reference_places = label_places(at_references)
    alone = np.arange(len(queries)) + len(references)  # labels of queries that no reference shows
    notes = () if near.all() else (_tell_alone(int((~near).sum()), len(queries), radius),)
    return FolderContents(
        queries,
        references,
        pairs=np.stack([np.flatnonzero(near), closest[near]], axis=1),
        query_places=np.where(near, reference_places[closest], alone),
        reference_places=reference_places,
        truth=truth,
        at_queries=at_queries,
        at_references=at_references,
        notes=notes,
    )


def _tell_alone(count: int, total: int, radius: float) -> str:
    return f"{count:,} of {total:,} queries have no reference within {radius:g} m: they do not train, and fail a test"


def _files_of(table: Table, row: Row, listings: Sequence[DirectoryCache]) -> list[tuple[int, str]]:
    """The role and the path of the files that a row stands for."""
    path = row.cells[0]
    for role, folder in enumerate(ROLE_FOLDERS):
        if path.startswith(f"{folder}/"):
            inner = path.removeprefix(f"{folder}/")
            _must_hold(listings[role], inner, table, row, role)
            return [(role, inner)]
    found = [(role, path) for role in (0, 1) if path in listings[role]]
    if not path or not found:
        raise _missing(table, row, path, "neither in queries nor in references")
    return found


def _by_pair(table: Table, listings: Sequence[DirectoryCache]) -> FolderContents:
    numbers: tuple[dict, dict] = ({}, {})
    pairs = {}  # keeps the order and drops what is named twice
    for row in table.rows:
        paths = [path.removeprefix(f"{role}/") for path, role in zip(row.cells, ROLE_FOLDERS)]
        if not paths[1]:
            raise table.fault(row, f"names the query {paths[0]} without a reference.")
        rows = []
        for role, path in enumerate(paths):
            if path:
                _must_hold(listings[role], path, table, row, role)
                rows.append(numbers[role].setdefault(path, len(numbers[role])))
        if len(rows) == 2:
            pairs[tuple(rows)] = None
    if not pairs:
        raise UserError(f"{table.path} names no query. It needs rows query,reference.")
    queries, references = map(list, numbers)
    linked = np.array(list(pairs), np.int64)
    in_order = linked[np.argsort(linked[:, 0], kind="stable")]
    places = _linked_places(linked, len(queries), len(references))
    return FolderContents(
        queries,
        references,
        pairs=linked,
        query_places=places[: len(queries)],
        reference_places=places[len(queries) :],
        truth=Truth(Ragged.from_counts(in_order[:, 1], np.bincount(linked[:, 0], minlength=len(queries)))),
    )


def _linked_places(pairs: np.ndarray, num_queries: int, num_references: int) -> np.ndarray:
    """Labels of the queries, then of the references: what pairs link, over whatever chain, is one place."""
    size = num_queries + num_references
    links = (np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1] + num_queries))
    return connected_components(coo_array(links, shape=(size, size)), directed=False)[1].astype(np.int64)


def _must_hold(listing: DirectoryCache, path: str, table: Table, row: Row, role: int) -> None:
    if not path or path not in listing:
        raise _missing(table, row, f"{ROLE_FOLDERS[role]}/{path}", "not there")


def _missing(table: Table, row: Row, path: str, where: str) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        f"Line {row.line} of {table.path} names {path!r}, which is {where} (names are case-sensitive). Put the file "
        "there, or take the line out."
    )
