"""Mapillary Street-level Sequences: its val split, Copenhagen and San Francisco, for testing only.

Warburg et al.: Mapillary Street-Level Sequences: A Dataset for Lifelong Place Recognition, CVPR 2020.
Two sets of queries go by this name, and numbers on the one are some 4 points of R@1 above those on the other: the
authors' own selection of 740, and all of about 11,000.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UnknownNameError
from .aligned import DirectoryCache
from .base import Split
from .locate import data_root, find_folder, how_to_get
from .near import within
from .photos import Photos, check_released, listed_photos
from .registry import title
from .street_views import FOUND_WITHIN, refuse_training, street_index
from .utm_names import first_home, named_homes, read_named

CITIES = ("cph", "sf")
QUERIES = ("auto", "official", "all")
RELEASED = (740, 18_871)  # queries of the authors' selection, and references
_FOLDERS = frozenset({"msls", "mapillary", "mapillary_sls", "mapillary_street_level_sequences", "datasets"})
_ZONES = frozenset({"33", "10"})  # Copenhagen, San Francisco
_PARTS = ("images/val", "val", "images/test", "test")


def load_msls(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    queries: str = "auto",
    allow_partial: bool = False,
) -> Split:
    """Reads the tables of the val split, or the names of files that say where they were taken. Panoramas are left out.

    Args:
        name: "msls-val".
        split: "test".
        root: its folder or one near it; without it, GEODTR_DATA.
        queries: "official", the authors' selection, of which those without a reference within 25 m are left out (740),
            or "all" (about 11,000). "auto" is the official one with the authors' tables. Files that were named by their
            positions (VPR-datasets-downloader) are all that there are: the selection is no longer known.
        allow_partial: leave out photos that are not on disk.

    Raises:
        UserError: the train split was asked for.
        UnknownNameError: there is no such set of queries.
    """
    refuse_training(name, split)
    if queries not in QUERIES:
        raise UnknownNameError("set of MSLS queries", queries, QUERIES)
    named = named_homes(_PARTS)
    tables = [f"train_val/{city}" for city in CITIES]
    folder = find_folder(
        name, data_root(name, root), _FOLDERS, [[tables[0], *named[1]], [tables[1], *named[1]], [tables[0], *named[0]]]
    )
    if (folder / tables[0]).is_dir():
        official = queries != "all"
        asked, references = _read_cities(name, folder, official)
        provenance = "original" if (len(asked), len(references)) == RELEASED else "custom"
        notes: tuple[str, ...] = ()
        layout = f"{tables[0]} and {tables[1]} in {folder}"
    else:
        if queries == "official":
            raise DatasetNotFoundError(
                f"The official queries of {title(name)} are named in subtask_index.csv, which {folder} does not have: "
                f"its files were renamed. Use the archive as it was released. {how_to_get(name)}"
            )
        homes = [first_home(folder, places) or places[0] for places in named]
        asked, references = (read_named(name, folder, home, _ZONES) for home in homes)
        released = [(len(asked), RELEASED[1])]  # the number of queries depends on who formatted them
        provenance, notes = check_released(name, "val", folder, asked, references, released, allow_partial)
        official, layout = len(asked) == RELEASED[0], f"{homes[0]} and {homes[1]} in {folder}"
        provenance = provenance if official else "custom"
    return street_index(
        name, split, folder, asked, references, allow_partial=allow_partial, layout=layout,
        provenance=f"{provenance}, {'official queries' if official else 'all queries'}",
        notes=(*notes, _tell_queries(len(asked), official)),
    )  # fmt: skip


def _tell_queries(count: int, official: bool) -> str:
    if official:
        return f"{count:,} queries, the authors' selection; all of about 11,000 give some 4 points of R@1 less"
    return f"{count:,} queries, all that there are; numbers on the authors' selection of 740 are some 4 points higher"


def _read_cities(name: str, folder: Path, official: bool) -> tuple[Photos, Photos]:
    """Queries and references of both cities in one gallery; their positions are of different zones, far apart."""
    roles = [
        [_read_role(name, folder, city, role, official) for city in CITIES] for role in ("query", "database")
    ]  # fmt: skip
    (asked, at_asked), (paths, at) = (
        ([path for paths, _ in cities for path in paths], np.concatenate([at for _, at in cities])) for cities in roles
    )
    if official:
        found = within(at_asked, at, FOUND_WITHIN, "metres").counts() > 0
        asked, at_asked = [path for path, kept in zip(asked, found) if kept], at_asked[found]
    files = DirectoryCache(folder)
    return listed_photos(files, ("{}",), asked, at_asked), listed_photos(files, ("{}",), paths, at)


def _read_role(name: str, folder: Path, city: str, role: str, official: bool) -> tuple[list[str], np.ndarray]:
    """Paths and positions `[N, 2]` of a city's photos, without panoramas and, for the official set, other tasks."""
    home = f"train_val/{city}/{role}"
    positions = _table(name, folder / home / "postprocessed.csv", ("key", "easting", "northing"))
    raw = _table(name, folder / home / "raw.csv", ("key", "pano"))
    if [row["key"] for row in raw] != [row["key"] for row in positions]:
        raise DatasetCorruptError(
            f"raw.csv and postprocessed.csv in {folder / home} name different photos; extract both again."
        )
    kept = np.array([row["pano"] != "True" for row in raw], bool)
    if official:
        tasks = _table(name, folder / home / "subtask_index.csv", ("all",))
        if len(tasks) != len(raw):
            raise DatasetCorruptError(
                f"subtask_index.csv in {folder / home} has {len(tasks):,} rows and raw.csv {len(raw):,}; extract both "
                "again."
            )
        kept &= np.array([row["all"] == "True" for row in tasks], bool)
    rows = np.flatnonzero(kept)
    try:
        at = np.array([[float(positions[i]["easting"]), float(positions[i]["northing"])] for i in rows])
    except ValueError as error:
        raise DatasetCorruptError(
            f"postprocessed.csv in {folder / home} has a position that is no number ({error}); extract it again."
        ) from None
    return [f"{home}/images/{positions[i]['key']}.jpg" for i in rows], at.reshape(-1, 2)


def _table(name: str, path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a table."""
    if not path.is_file():
        raise DatasetNotFoundError(
            f"{title(name)} lacks {path}. Extract the archive of tables (metadata) beside the photos. "
            f"{how_to_get(name)}"
        )
    with open(path, encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines)
        missing = [column for column in columns if column not in (table.fieldnames or ())]
        if missing:
            raise DatasetCorruptError(f"{path} has no column {' and no column '.join(missing)}; extract it again.")
        return list(table)
