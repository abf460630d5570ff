"""Own data without code: `folder:PATH` with PATH/queries, PATH/references and, mostly, a table of positions or pairs.

    my_city/queries/0001.jpg ...        what is asked: photos, panoramas
    my_city/references/0001.png ...     what is searched: aerial tiles
    my_city/places.csv                  file,lat,lon    or    query,reference
    my_city/dataset.json                {"centred": true}   where each query was taken at the centre of its reference

Or train.csv and test.csv in place of the one table, which otherwise gives its last places to the test. Without any
table, images of the same name are pairs. Without dataset.json, cameras stand anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from ..utils.paths import is_hidden, one_form
from ..utils.ragged import Ragged
from ..utils.reading import read_json
from ..utils.roles import ROLE_FOLDERS, SPLITS
from .base import Split
from .folder_csv import Row, Table, read_table, tables_of
from .folder_files import REMEDY, OwnFiles, UnmatchedName
from .folder_names import pairs_by_name
from .images import WHOLE, ImageFiles, Rows, part_of_height
from .places import label_linked, label_places, nearest, within
from .registry import FOLDER, DatasetFacts

STATEMENT = "dataset.json"
FACTS = DatasetFacts(title="own data", paper="your own data", centred=False)
_SHAPE = "Own data needs the folders queries and references, and one table (*.csv), or train.csv and test.csv."


def load_folder(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    *,
    radius: float = 25.0,  # metres; what place recognition counts as found, and what GPS in a street is good for
    test_share: float = 0.2,
    centred: bool | None = None,
    panorama_rows: Sequence[float] = WHOLE,
) -> Split:
    """Read own data.

    Rows `file,lat,lon` name queries and references alike (`queries/a.jpg`, or `a.jpg` for the files of that path in
    both folders, see `OwnFiles`); every reference within `radius` of a query is right, and a training pair is a query
    and its nearest reference. Rows `query,reference` name what is right themselves; a row without a query adds a
    distractor.

    One table serves both splits: its last places, in the order of its queries, are the test, and no reference that is
    right for one of them is trained on. The gallery is every reference of the table, so that chance is as in use.

    Args:
        name: "folder:" and a path, absolute, below root, or below the working folder.
        split: "train" or "test".
        root: where a relative path starts.
        radius: metres within which a reference is right.
        test_share: the part of the places that is held out for the test when there is one table, or none; 1 tests on
            all of them.
        centred: cameras stand at the centres of their tiles, see `Split`; None: as dataset.json says.
        panorama_rows: the part of the queries' height that is kept, as fractions from the top: 0.25 and 0.75 make what
            CVACT's models see of full spheres.

    Raises:
        UserError: the options mean nothing, or the table names too little.
        DatasetNotFoundError: a folder, the table, or an image that it names is not there.
        DatasetCorruptError: the table cannot be used.
    """
    if not radius > 0 or not 0 < test_share <= 1:
        raise UserError(f"radius must be above 0 and test_share from 0 to 1, not {radius:g} and {test_share:g}.")
    rows = part_of_height(panorama_rows)
    folder = _find(name, root)
    table, shared = _table_of(folder, split)
    centred = says_centred(folder, centred)
    fields = {"name": name, "split": split, "provenance": "own", "centred": centred}
    if table.has_positions:
        whole = _by_position(table, folder, rows, radius, **fields)
    else:
        whole = _by_pair(table, folder, rows, **fields)
    part = _hold_out(whole, test_share) if shared else whole
    if not len(part.pairs):
        remedy = "Name more places, or write train.csv and test.csv."
        raise UserError(f"{table.path} leaves no pair for {split}.", remedy)
    return part


def is_folder_centred(name: str, root: str | os.PathLike[str] | None = None, asked: bool | None = None) -> bool:
    """Tell whether cameras are centred before own data is read; name and root as for `load_folder`.

    Raises:
        UserError: see `says_centred`; a folder that is not there is no error here.
    """
    try:
        return says_centred(_find(name, root), asked)
    except DatasetNotFoundError:
        return bool(asked)


def says_centred(folder: Path, asked: bool | None = None) -> bool:
    """Tell whether cameras stand at the centres of their tiles: as asked, else as the folder's dataset.json says.

    Raises:
        UserError: the answer is neither true nor false.
        DamagedFileError: dataset.json cannot be read, or says something else besides.
    """
    file = folder / STATEMENT
    if asked is None and file.is_file():
        remedy = 'It may hold {"centred": true} or {"centred": false}.'
        stated = read_json(file, remedy)
        if set(stated) != {"centred"} or not isinstance(stated["centred"], bool):
            raise DatasetCorruptError(f"{file} does not say whether cameras are centred, or more than that.", remedy)
        return stated["centred"]
    if not isinstance(asked, bool | None):
        raise UserError(f"--data.centred is {asked!r}.", "Give true or false.")
    return bool(asked)


def _find(name: str, root: str | os.PathLike[str] | None) -> Path:
    named = Path(name.removeprefix(FOLDER)).expanduser()
    starts = [Path.cwd()] if root is None else [Path(root).expanduser(), Path.cwd()]
    looked = list(dict.fromkeys(Path(os.path.abspath(start / named)) for start in starts))
    folder = next((path for path in looked if os.path.isdir(path)), None)
    if folder is None or not name.removeprefix(FOLDER):
        raise DatasetNotFoundError(f"There is no folder {' or '.join(map(str, looked))}.", _SHAPE)
    for role in ROLE_FOLDERS:
        if not (folder / role).is_dir():
            raise DatasetNotFoundError(f"{folder} has no folder {role}.", _SHAPE)
        if all(is_hidden(path.name) for path in (folder / role).iterdir()):
            raise DatasetNotFoundError(f"{folder / role} holds nothing.", f"Put the images of the {role} there.")
    return folder


def _table_of(folder: Path, split: str) -> tuple[Table, bool]:
    """Return the table of the split, and whether it serves the other one too."""
    tables = tables_of(folder)
    if not tables:
        return pairs_by_name(folder), True
    by_split = {path.stem.lower(): path for path in tables if path.stem.lower() in SPLITS}
    if split in by_split:
        return read_table(by_split[split]), False
    if by_split:
        names = ", ".join(path.name for path in by_split.values())
        raise DatasetNotFoundError(f"{folder} has {names} but no {split}.csv.")
    if len(tables) != 1:
        names = f"{len(tables)} tables ({', '.join(path.name for path in tables)})"
        raise DatasetNotFoundError(f"{folder} has {names}.", _SHAPE)
    return read_table(tables[0]), True


def _hold_out(whole: Split, test_share: float) -> Split:
    """Return a split's part of one table: its last places, in the order of the queries, are the test."""
    _, first, place = np.unique(whole.query_places, return_index=True, return_inverse=True)
    if len(first) < 2 and test_share < 1:
        raise UserError(
            "The one table of own data names one place, which cannot be split.", "Write train.csv and test.csv."
        )
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    most = len(first) if test_share == 1 else len(first) - 1
    held_out = min(max(1, round(test_share * len(first))), most)
    in_test = order[place.ravel()] >= len(first) - held_out
    which = "all" if held_out == len(first) else f"the last {held_out:,} of"
    note = f"{which} {len(first):,} places of the table are the test"
    gallery = np.arange(len(whole.references))
    if whole.split == "test":
        return replace(whole.keep(np.flatnonzero(in_test), gallery), notes=(*whole.notes, note))
    test_references = np.unique(whole.truth.positives.take(in_test).values)
    train = whole.keep(np.flatnonzero(~in_test), gallery)
    pairs = train.pairs[~np.isin(train.pairs[:, 1], test_references)]
    left_out = len(train.pairs) - len(pairs)
    if left_out:
        note += f"; {left_out:,} training pairs are left out because their references are right for test queries"
    train = replace(train, pairs=pairs, notes=(*whole.notes, note))
    return train.keep(np.unique(pairs[:, 0]), np.unique(pairs[:, 1]))


def _by_position(table: Table, folder: Path, rows: Rows, radius: float, **fields: Any) -> Split:
    """Return the whole table `file,lat,lon` as a split: right is what lies within the radius."""
    queries, references = _positions_of_files(table, folder, rows)
    closest, metres = nearest(queries.coordinates, references.coordinates, "latlon")
    near = metres <= radius
    if not near.any():
        row = int(np.argmin(metres))
        raise UserError(
            f"No query of {table.path} has a reference within {radius:g} m; the nearest are {queries.ids[row]} and "
            f"{references.ids[closest[row]]}, {metres[row]:,.0f} m apart.",
            "Check whether latitude and longitude have been swapped in some rows, or set a larger radius "
            "(--data.radius).",
        )
    places = label_places(references.coordinates)
    alone = int((~near).sum())
    note = (
        f"{alone:,} of {len(near):,} queries have no reference within {radius:g} m: they do not train, and fail a test"
    )
    return Split(
        queries=queries,
        references=references,
        pairs=np.stack([np.flatnonzero(near), closest[near]], axis=1),
        # queries that no reference shows have labels of their own
        query_places=np.where(near, places[closest], np.arange(len(queries)) + len(references)),
        reference_places=places,
        truth=Truth(within(queries.coordinates, references.coordinates, radius, "latlon")),
        layout=f"{_layout(table, folder, fields)}references within {radius:g} m are right",
        exclusion_radius=radius if fields["split"] == "train" else None,
        notes=(note,) if alone else (),
        **fields,
    )


def _positions_of_files(table: Table, folder: Path, rows: Rows) -> tuple[ImageFiles, ImageFiles]:
    """Return the queries and the references that rows `file,lat,lon` name."""
    files = OwnFiles(folder)
    positions: dict[str, dict[str, tuple[float, float]]] = {role: {} for role in ROLE_FOLDERS}
    for row in table.rows:
        position = table.position(row)
        for role, path in _matched(table, row, row.cells[0], files):
            if path in positions[role]:
                raise table.fault(row, f"names {role}/{path} for the second time.", "Take one of the lines out.")
            positions[role][path] = position
    for role, by_path in positions.items():
        if not by_path:
            remedy = "Both roles need rows file,lat,lon."
            raise UserError(f"{table.path} gives no position of a file in {role}.", remedy)
    queries, references = (
        _images(folder, role, [*by_path], rows, np.array([*by_path.values()])) for role, by_path in positions.items()
    )
    return queries, references


def _matched(table: Table, row: Row, name: str, files: OwnFiles) -> list[tuple[str, str]]:
    """Return role and path of the files that a name in a row stands for.

    Raises:
        DatasetNotFoundError: it means no file, or may mean several.
    """
    try:
        return files.of(name)
    except UnmatchedName as error:
        raise DatasetNotFoundError(f"Line {row.line} of {table.path} names {name!r}, which {error}.", REMEDY) from None


def _by_pair(table: Table, folder: Path, rows: Rows, **fields: Any) -> Split:
    """Return the whole table `query,reference` as a split."""
    files = OwnFiles(folder)
    named: dict[tuple[str, str], str] = {}
    numbers: tuple[dict[str, int], ...] = ({}, {})
    pairs: dict[tuple[int, ...], None] = {}  # keeps the order and drops what is named twice
    for row in table.rows:
        names = [name.removeprefix(f"{role}/") for name, role in zip(row.cells, ROLE_FOLDERS)]
        if not names[1]:
            raise table.fault(row, f"names the query {names[0]} without a reference.")
        pair = []
        for role, name, known in zip(ROLE_FOLDERS, names, numbers):
            if name:
                ((_, path),) = _matched(table, row, f"{role}/{name}", files)
                if named.setdefault((role, path), one_form(name)) != one_form(name):
                    both = f"names {name!r}, and another line {named[role, path]!r}"
                    raise table.fault(row, f"{both}: either means {role}/{path}.", REMEDY)
                pair.append(known.setdefault(path, len(known)))
        if len(pair) == 2:
            pairs[tuple(pair)] = None
    if not pairs:
        raise UserError(f"{table.path} names no query.", "It needs rows query,reference.")
    queries, references = (_images(folder, role, [*paths], rows) for role, paths in zip(ROLE_FOLDERS, numbers))
    linked = np.array(list(pairs), np.int64)
    places = label_linked(linked + [0, len(queries)], len(queries) + len(references))
    in_order = linked[np.argsort(linked[:, 0], kind="stable")]
    return Split(
        queries=queries,
        references=references,
        pairs=linked,
        query_places=places[: len(queries)],
        reference_places=places[len(queries) :],
        truth=Truth(Ragged.from_counts(in_order[:, 1], np.bincount(linked[:, 0], minlength=len(queries)))),
        layout=f"{_layout(table, folder, fields)}its pairs are right",
        **fields,
    )


def _layout(table: Table, folder: Path, fields: Mapping[str, Any]) -> str:
    centred = "cameras at the centres of their tiles, " if fields["centred"] else ""
    source = "names of files" if table.path == folder else table.path.name
    return f"own data in {folder}, {source}: {centred}"


def _images(folder: Path, role: str, paths: Sequence[str], rows: Rows, at: np.ndarray | None = None) -> ImageFiles:
    files = (f"{role}/{path}" for path in paths)
    ids = map(one_form, paths)  # the same whichever form a disk keeps names in
    rows = rows if role == "queries" else WHOLE
    return ImageFiles(folder, files, ids, rows, coordinates=at, coordinate_kind=None if at is None else "latlon")
