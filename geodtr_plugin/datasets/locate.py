"""Finding a data set on disk: under the folder that was named, in its usual sub-folders, or one folder up."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..utils.errors import DatasetNotFoundError
from .registry import DATASETS

ENVIRONMENT = "GEODTR_DATA"

# One thing that a data set's folder must hold: relative paths, of which any one will do.
Need = Sequence[str]


def data_root(name: str, root: str | os.PathLike[str] | None) -> Path:
    """The folder to look in: `root`, else the environment variable GEODTR_DATA.

    Raises:
        DatasetNotFoundError: neither names a folder.
    """
    named = root if root is not None else os.environ.get(ENVIRONMENT)
    if not named:
        raise DatasetNotFoundError(f"{DATASETS[name].title} needs a folder to look in. {how_to_get(name)}")
    path = Path(os.path.abspath(Path(named).expanduser()))
    if not path.is_dir():
        source = "" if root is not None else f", which {ENVIRONMENT} names"
        raise DatasetNotFoundError(f"There is no folder {path}{source}. {how_to_get(name)}")
    return path


def find_folder(name: str, root: Path, folders: frozenset[str], needs: Sequence[Need], remedy: str = "") -> Path:
    """The first folder that holds everything the data set needs.

    Args:
        name: the data set.
        root: where to look; also looked at are its sub-folders of fitting names, two deep, and the same one folder up.
        folders: names, in lower case, that people give the data set's folder; the data set's own name always fits.
        needs: what must be there.
        remedy: a sentence for the case that a folder holds a part of it.

    Raises:
        DatasetNotFoundError: with what the nearest folder lacks, or with every folder looked at.
    """
    candidates = _candidates(name, root, folders)
    tried = {folder: [need for need in needs if not _holds(folder, need)] for folder in candidates}
    for folder, missing in tried.items():
        if not missing:
            return folder
    nearest, missing = min(tried.items(), key=lambda item: len(item[1]))
    if len(missing) < len(needs):
        lacks = ", ".join(map(" or ".join, missing))
        raise DatasetNotFoundError(
            f"{DATASETS[name].title} in {nearest} is not complete: it lacks {lacks}. {remedy} {how_to_get(name)}"
        )
    looked = "; ".join(f"{folder} (no {' or '.join(missing[0])})" for folder, missing in tried.items())
    raise DatasetNotFoundError(f"{DATASETS[name].title} was not found. Looked in {looked}. {how_to_get(name)}")


def how_to_get(name: str) -> str:
    """Where the data set's makers give it out, and how to say where it lies."""
    facts = DATASETS[name]
    return f"Name its folder with --data-root or in {ENVIRONMENT}. {facts.title} comes from its makers: {facts.page}."


def _holds(folder: Path, need: Need) -> bool:
    return any((folder / path).exists() for path in need)


def _candidates(name: str, root: Path, folders: frozenset[str]) -> Iterator[Path]:
    for base in dict.fromkeys((root, root.parent)):
        yield base
        for child in _children(name, base, folders):
            yield child
            yield from _children(name, child, folders)


def _children(name: str, folder: Path, folders: frozenset[str]) -> list[Path]:
    """The sub-folders with a fitting name, in any case, in alphabetical order."""
    try:
        family = name.partition("-")[0]  # cvusa-cleaned lies where cvusa lies
        with os.scandir(folder) as entries:
            fitting = [entry for entry in entries if entry.name.lower() in folders or family in entry.name.lower()]
            return sorted(Path(entry) for entry in fitting if entry.is_dir())
    except PermissionError:
        return []
