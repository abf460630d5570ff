"""Own data without code: `folder:PATH` with PATH/queries, PATH/references and a table of positions or pairs.

    my_city/queries/0001.jpg ...        what is asked: photos, panoramas
    my_city/references/0001.png ...     what is searched: aerial tiles
    my_city/places.csv                  file,lat,lon    or    query,reference

Or train.csv and test.csv in place of the one table, which otherwise gives its last places to the test.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetNotFoundError, UserError
from .base import Split
from .folder_csv import Table, read_table
from .folder_truth import FolderContents, material_of
from .images import ImageFiles
from .registry import FOLDER

_SHAPE = "Own data needs the folders queries and references, and one table (*.csv), or train.csv and test.csv."


def load_folder(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    *,
    radius: float = 25.0,  # metres; what place recognition counts as found, and what GPS in a street is good for
    test_share: float = 0.2,
) -> Split:
    """Reads own data.

    Rows `file,lat,lon` name queries and references alike (`queries/a.jpg`, or `a.jpg` for the files of that name in
    both folders); every reference within `radius` of a query is right, and a training pair is a query and its nearest
    reference. Rows `query,reference` name what is right themselves; a row without a query adds a distractor.

    One table serves both splits: its last places, in the order of its queries, are the test, and no reference that is
    right for one of them is trained on. The gallery is every reference of the table, so that chance is as in use.

    Args:
        name: "folder:" and a path, absolute, below root, or below the working folder.
        split: "train" or "test".
        root: where a relative path starts.
        radius: metres within which a reference is right.
        test_share: the part of the places that is held out for the test when there is one table.

    Raises:
        DatasetNotFoundError: a folder, the table, or an image that it names is not there.
        DatasetCorruptError: the table cannot be used.
    """
    if not radius > 0 or not 0 < test_share < 1:
        raise UserError(f"radius must be above 0 and test_share between 0 and 1, not {radius:g} and {test_share:g}.")
    folder = _find(name, root)
    path, shared = _table_path(folder, split)
    table = read_table(path)
    material = material_of(table, folder, radius)
    notes = material.notes
    if shared:
        material, note = _part(material, split, test_share)
        notes = (*notes, note)
    return _index(name, split, folder, table, material, radius, notes)


def _find(name: str, root: str | os.PathLike[str] | None) -> Path:
    given = Path(name.removeprefix(FOLDER)).expanduser()
    starts = [Path.cwd()] if root is None else [Path(root).expanduser(), Path.cwd()]
    looked = list(dict.fromkeys(Path(os.path.abspath(start / given)) for start in starts))
    folder = next((path for path in looked if path.is_dir()), None)
    if folder is None or not name.removeprefix(FOLDER):
        raise DatasetNotFoundError(f"There is no folder {' or '.join(map(str, looked))}. {_SHAPE}")
    for role in ("queries", "references"):
        if not (folder / role).is_dir():
            raise DatasetNotFoundError(f"{folder} has no folder {role}. {_SHAPE}")
        if not any((folder / role).iterdir()):
            raise DatasetNotFoundError(f"{folder / role} holds nothing. Put the images of the {role} there.")
    return folder


def _table_path(folder: Path, split: str) -> tuple[Path, bool]:
    """The table of the split, and whether it serves the other one too."""
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv")
    own = {path.stem.lower(): path for path in tables if path.stem.lower() in ("train", "test")}
    if split in own:
        return own[split], False
    if own:
        raise DatasetNotFoundError(f"{folder} has {', '.join(p.name for p in own.values())} but no {split}.csv.")
    if len(tables) != 1:
        found = f"{len(tables)} tables ({', '.join(path.name for path in tables)})" if tables else "no table"
        raise DatasetNotFoundError(f"{folder} has {found}. {_SHAPE}")
    return tables[0], True


def _part(material: FolderContents, split: str, test_share: float) -> tuple[FolderContents, str]:
    """The queries of a split: the places in the order of the table, the last of them for the test."""
    _, first, place = np.unique(material.query_places, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    if len(first) < 2:
        raise UserError(
            "The one table of own data names one place, which cannot be split. Write train.csv and test.csv."
        )
    held_out = min(max(1, round(test_share * len(first))), len(first) - 1)
    in_test = order[place.ravel()] >= len(first) - held_out
    told = f"the last {held_out:,} of {len(first):,} places of the table are the test"
    if split == "test":
        return material.of_queries(np.flatnonzero(in_test)), told
    unseen = np.unique(material.truth.positives.take(in_test).values)
    train = material.of_queries(np.flatnonzero(~in_test))
    pairs = train.pairs[~np.isin(train.pairs[:, 1], unseen)]
    left_out = len(train.pairs) - len(pairs)
    if left_out:
        told += f"; {left_out:,} training pairs are left out because their references are right for test queries"
    return train.with_pairs(pairs).of_pairs(), told


def _index(
    name: str, split: str, folder: Path, table: Table, material: FolderContents, radius: float, notes: tuple[str, ...]
) -> Split:
    if not len(material.pairs):
        raise UserError(f"{table.path} leaves no pair for {split}. Name more places, or write train.csv and test.csv.")
    rule = f"references within {radius:g} m are right" if table.has_positions else "the pairs that it names are right"
    files = [
        ImageFiles(
            folder,
            [f"{role}/{path}" for path in paths],
            paths,
            coordinates=coordinates,
            coordinate_kind=None if coordinates is None else "latlon",
        )
        for role, paths, coordinates in (
            ("queries", material.queries, material.at_queries),
            ("references", material.references, material.at_references),
        )
    ]
    return Split(
        name=name,
        split=split,
        queries=files[0],
        references=files[1],
        pairs=material.pairs,
        query_places=material.query_places,
        reference_places=material.reference_places,
        truth=material.truth,
        layout=f"own data in {folder}, {table.path.name}: {rule}",
        provenance="own",
        centred=False,
        notes=notes,
        exclusion_radius=radius if table.has_positions and split == "train" else None,
    )
