"""Which files the lists of a data set name and the disk lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..aligned import Listing
from ..base import Index
from .report import Finding, fault, listed

_NEVER_RELEASED = "1LqOHPdTiBbRucz-jFOSbQ"  # the one train pair of CVACT without files: nobody can copy it again


@contextmanager
def watch_missing() -> Iterator[dict[Path, None]]:
    """Collects, in order, the files that loaders look for and do not find.

    Every loader asks Listing for its files, and none keeps the paths of those that are not there.
    """
    missing: dict[Path, None] = {}
    holds, first = Listing.holds, Listing.first

    def note(listing: Listing, path: str) -> None:
        if _NEVER_RELEASED not in path:
            missing[listing._root / path] = None

    def watched_holds(listing: Listing, paths: Sequence[str]) -> np.ndarray:
        present = holds(listing, paths)
        for i in np.flatnonzero(~present):
            note(listing, paths[int(i)])
        return present

    def watched_first(listing: Listing, candidates: Sequence[str]) -> tuple[str, bool]:
        path, there = first(listing, candidates)
        if not there:
            note(listing, path)
        return path, there

    Listing.holds, Listing.first = watched_holds, watched_first
    try:
        yield missing
    finally:
        Listing.holds, Listing.first = holds, first


def tell_missing(split: str, missing: Sequence[Path], index: Index | None) -> Finding:
    """The finding about files that are not there.

    Args:
        split: whose lists name them.
        missing: the files.
        index: the pairs that are complete; None where there is none.
    """
    complete = "no pair is complete"
    if index is not None:
        complete = f"{len(index.pairs):,} of {index.total_pairs or len(index.pairs):,} pairs are complete"
    empty = [folder for folder in sorted({path.parent for path in missing}) if not _holds_anything(folder)]
    lost = f"; {listed(map(str, empty))} holds nothing" if empty else ""
    files = f"{len(missing):,} file{'s are' if len(missing) > 1 else ' is'} missing"
    lists_them = " (--write-missing FILE lists them all)" if len(missing) > 1 else ""
    again = str(empty[0]) if empty else f"the missing files again, first {missing[0]}{lists_them}"
    return fault(
        "missing",
        f"{split}: {complete}, {files}{lost}: {listed(map(str, missing))}",
        f"Extract or copy {again}{' again' if empty else ''}.",
    )


def _holds_anything(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False
