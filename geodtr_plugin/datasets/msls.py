"""Mapillary Street-level Sequences: its val split, Copenhagen and San Francisco, for testing only.

Warburg et al.: Mapillary Street-Level Sequences: A Dataset for Lifelong Place Recognition, CVPR 2020.
Two sets of queries go by this name, and numbers on the one are some 4 points of R@1 above those on the other: the
authors' own selection of 740, and all of about 11,000.
"""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UnknownNameError
from ..utils.paths import below
from ..utils.reading import read_text, understood
from .base import Split
from .find_root import data_root, find_folder, how_to_get
from .photo_lists import NOUNS, PhotoList, PhotoSet, find_photos, homes_of_named, read_named
from .places import within
from .registry import DatasetFacts, facts_of, register_dataset, title_of
from .role_files import DirectoryCache
from .street_views import FOUND_WITHIN, refuse_training, street_split

FACTS = DatasetFacts(
    title="MSLS val",
    pairs=(0, 740),  # the authors' selection
    gallery=18_871,
    paper="Warburg et al., CVPR 2020",
    page="https://www.mapillary.com/dataset/places",
    centred=False,
    areas=("", "Copenhagen and San Francisco"),
)
CITIES = ("cph", "sf")
QUERIES = ("auto", "official", "all")
_FOLDERS = frozenset({"msls", "mapillary", "mapillary_sls", "mapillary_street_level_sequences", "datasets"})
_ZONES = frozenset({"33", "10"})  # Copenhagen, San Francisco
_PARTS = ("images/val", "val", "images/test", "test")


@register_dataset("msls-val", FACTS)
def load_msls(
    name: str,
    split: str,
    root: str | os.PathLike[str] | None = None,
    queries: str = "auto",
    allow_partial: bool = False,
) -> Split:
    """Read the tables of the val split, or the names of files that say where they were taken. Panoramas are left out.

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
        DatasetNotFoundError: the folder, a table or a photo is not there.
        DatasetCorruptError: a table, or a file's name, cannot be used.
    """
    refuse_training(name, split)
    if queries not in QUERIES:
        raise UnknownNameError("set of MSLS queries", queries, QUERIES)
    named = homes_of_named(*_PARTS)
    tables = [f"train_val/{city}" for city in CITIES]
    needs = [[tables[0], *named[1]], [tables[1], *named[1]], [tables[0], *named[0]]]
    folder = find_folder(name, data_root(name, root), _FOLDERS, needs)
    official_count, gallery = facts_of(name).released_pairs("test"), facts_of(name).gallery
    if (folder / tables[0]).is_dir():
        official = queries != "all"
        photos = _read_tables(name, folder, official, (official_count, gallery))
    elif queries == "official":
        raise DatasetNotFoundError(
            f"The official queries of {title_of(name)} are named in subtask_index.csv, which {folder} does not have: "
            "its files were renamed.",
            f"Use the archive as it was released. {how_to_get(name)}",
        )
    else:  # the number of queries depends on who formatted them
        photos = read_named(name, "val", folder, named, _ZONES, (None, gallery), allow_partial)
        official = len(photos.queries) == official_count
    provenance = f"{photos.provenance}, official queries" if official else "custom, all queries"
    notes = (*photos.notes, _queries_note(len(photos.queries), official))
    photos = replace(photos, provenance=provenance, notes=notes)
    return street_split(name, split, folder, photos, allow_partial)


def _queries_note(count: int, official: bool) -> str:
    if official:
        return f"{count:,} queries, the authors' selection; all of about 11,000 give some 4 points of R@1 less"
    return f"{count:,} queries, all that there are; numbers on the authors' selection of 740 are some 4 points higher"


def _read_tables(name: str, folder: Path, official: bool, released: tuple[int | None, int | None]) -> PhotoSet:
    """Read queries and references of both cities into one gallery; in other UTM zones, they lie far apart."""
    lists = [
        _joined([_read_role(name, folder, city, role, official) for city in CITIES]) for role in ("query", "database")
    ]
    if official:
        names, at = lists[0]
        kept = within(at, lists[1].at, FOUND_WITHIN, "metres").counts() > 0
        lists[0] = PhotoList([path for path, keep in zip(names, kept) if keep], at[kept])
    files = DirectoryCache(folder)
    queries, references = (find_photos(files, noun, photos, ("{}",)) for noun, photos in zip(NOUNS, lists))
    provenance = "original" if (len(queries), len(references)) == released else "custom"
    layout = f"{' and '.join(f'train_val/{city}' for city in CITIES)} in {folder}"
    return PhotoSet(queries, references, provenance, layout)


def _joined(parts: list[PhotoList]) -> PhotoList:
    return PhotoList([name for part in parts for name in part.names], np.concatenate([part.at for part in parts]))


def _read_role(name: str, folder: Path, city: str, role: str, official: bool) -> PhotoList:
    """Return a city's photos, without panoramas and, in the official set, without those of other tasks."""
    home = f"train_val/{city}/{role}"
    positions = _read_table(name, folder / home / "postprocessed.csv", ("key", "easting", "northing"))
    raw = _read_table(name, folder / home / "raw.csv", ("key", "pano"))
    if [row["key"] for row in raw] != [row["key"] for row in positions]:
        raise DatasetCorruptError(
            f"raw.csv and postprocessed.csv in {folder / home} name different photos.", "Extract both again."
        )
    kept = np.array([row["pano"] != "True" for row in raw], bool)
    if official:
        tasks = _read_table(name, folder / home / "subtask_index.csv", ("all",))
        if len(tasks) != len(raw):
            raise DatasetCorruptError(
                f"subtask_index.csv in {folder / home} has {len(tasks):,} rows and raw.csv {len(raw):,}.",
                "Extract both again.",
            )
        kept &= np.array([row["all"] == "True" for row in tasks], bool)
    rows = np.flatnonzero(kept)
    try:
        at = np.array([[float(positions[i]["easting"]), float(positions[i]["northing"])] for i in rows])
    except ValueError as error:
        raise DatasetCorruptError(
            f"postprocessed.csv in {folder / home} has a position that is no number ({error}).", "Extract it again."
        ) from None
    keys = [below(positions[i]["key"], f"postprocessed.csv in {folder / home}") for i in rows]
    return PhotoList([f"{home}/images/{key}.jpg" for key in keys], at.reshape(-1, 2))


def _read_table(name: str, path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a table that has some columns."""
    if not path.is_file():
        raise DatasetNotFoundError(
            f"{title_of(name)} lacks {path}.",
            f"Extract the archive of tables (metadata) beside the photos. {how_to_get(name)}",
        )
    text = read_text(path, "Extract it again.", DatasetCorruptError)
    with understood(path, "Extract it again."):
        table = csv.DictReader(io.StringIO(text, newline=""), restval="")
        missing = [column for column in columns if column not in (table.fieldnames or ())]
        if missing:
            raise DatasetCorruptError(f"{path} has no column {' and no column '.join(missing)}.", "Extract it again.")
        return list(table)
