"""Which files the lists of a data set name and the disk lacks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..base import Split
from .report import Finding, fault, listed

_NEVER_RELEASED = "1LqOHPdTiBbRucz-jFOSbQ"  # the one train pair of CVACT without files: nobody can copy it again


def to_copy_again(absent: Iterable[Path]) -> dict[Path, None]:
    """The absent files that somebody has, in their order."""
    return {path: None for path in absent if _NEVER_RELEASED not in path.name}


def tell_missing(split: str, missing: Sequence[Path], index: Split | None) -> Finding:
    """The finding about files that are not there.

    Args:
        split: whose lists name them.
        missing: the files.
        index: the pairs that are complete; None where there is none.
    """
    complete = "no pair is complete"
    if index is not None:
        complete = f"{len(index.pairs):,} of {index.total_pairs or len(index.pairs):,} pairs are complete"
    folders = {path.parent for path in missing}
    empty = sorted({_outermost_empty(folder) for folder in folders if not _holds_anything(folder)})
    lost = f"; {listed(map(str, empty))} {'hold' if empty[1:] else 'holds'} nothing" if empty else ""
    files = f"{len(missing):,} file{'s are' if len(missing) > 1 else ' is'} missing"
    lists_them = " (--write-missing FILE lists them all)" if len(missing) > 1 else ""
    again = str(empty[0]) if empty else f"the missing files again, first {missing[0]}{lists_them}"
    return fault(
        "missing",
        f"{split}: {complete}, {files}{lost}: {listed(map(str, missing))}",
        f"Extract or copy {again}{' again' if empty else ''}.",
    )


def _outermost_empty(folder: Path) -> Path:
    """Where a folder of folders is empty, it is to be named, and not each folder that should be in it."""
    while not _holds_anything(folder.parent):
        folder = folder.parent
    return folder


def _holds_anything(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
