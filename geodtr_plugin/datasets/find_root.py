"""Finding a data set on disk: under the folder that was named, in its usual sub-folders, or one folder up."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..utils.errors import DatasetNotFoundError
from .registry import facts_of, title_of

ENVIRONMENT = "GEODTR_DATA"

# One thing that a data set's folder must hold: relative paths, of which any one will do.
Need = Sequence[str]


def data_root(name: str, root: str | os.PathLike[str] | None) -> Path:
    """Return the folder to look in: `root`, else the environment variable GEODTR_DATA.

    Raises:
        DatasetNotFoundError: neither names a folder.
    """
    named = root if root is not None else os.environ.get(ENVIRONMENT)
    if not named:
        raise DatasetNotFoundError(f"{title_of(name)} needs a folder to look in.", how_to_get(name))
    path = Path(os.path.abspath(Path(named).expanduser()))
    if not os.path.isdir(path):
        source = "" if root is not None else f", which {ENVIRONMENT} names"
        raise DatasetNotFoundError(f"There is no folder {path}{source}.", how_to_get(name))
    return path


def find_folder(name: str, root: Path, folders: frozenset[str], needs: Sequence[Need], remedy: str = "") -> Path:
    """Return the first folder that holds everything the data set needs.

    Args:
        name: the data set.
        root: where to look; also looked at are its sub-folders of fitting names, two deep, and those of its parent.
        folders: names, in lower case, that people give the data set's folder; the data set's own name always fits.
        needs: what must be there.
        remedy: a sentence for the case that a folder holds a part of it.

    Raises:
        DatasetNotFoundError: with what the nearest folder lacks, or with every folder looked at.
    """
    candidates = _candidates(name, root, folders)
    lacking = {folder: [need for need in needs if first_path(folder, need) is None] for folder in candidates}
    for folder, lacks in lacking.items():
        if not lacks:
            return folder
    nearest, lacks = min(lacking.items(), key=lambda item: len(item[1]))
    if len(lacks) < len(needs):
        raise DatasetNotFoundError(
            f"{title_of(name)} in {nearest} is not complete: it lacks {', '.join(map(' or '.join, lacks))}.",
            f"{remedy} {how_to_get(name)}".strip(),
        )
    looked = "; ".join(f"{folder} (no {' or '.join(lacks[0])})" for folder, lacks in lacking.items())
    raise DatasetNotFoundError(f"{title_of(name)} was not found. Looked in {looked}.", how_to_get(name))


def first_path(folder: Path, candidates: Iterable[str]) -> str | None:
    """Return the first of some paths, relative to `folder`, that is there."""
    return next((path for path in candidates if (folder / path).exists()), None)


def how_to_get(name: str) -> str:
    """Return sentences on how to name a data set's folder, and on where its makers give it out."""
    facts = facts_of(name)
    source = f" {facts.title} comes from its makers: {facts.page}." if facts.page else ""
    return f"Name its folder with --data-root or in {ENVIRONMENT}.{source}"


def _candidates(name: str, root: Path, folders: frozenset[str]) -> Iterator[Path]:
    for base in dict.fromkeys((root, root.parent)):
        yield base
        for child in _fitting_folders(name, base, folders):
            yield child
            yield from _fitting_folders(name, child, folders)


def _fitting_folders(name: str, folder: Path, folders: frozenset[str]) -> list[Path]:
    """Return the sub-folders with a fitting name, in any case, in alphabetical order."""
    try:
        family = name.partition("-")[0]  # cvusa-cleaned lies where cvusa lies
        with os.scandir(folder) as entries:
            fitting = [entry for entry in entries if entry.name.lower() in folders or family in entry.name.lower()]
            return sorted(Path(entry) for entry in fitting if entry.is_dir())
    except PermissionError:
        return []
