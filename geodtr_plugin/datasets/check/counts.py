"""How many pairs the lists name and how many files the folders hold, against what was released."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..base import Split
from ..images import ImageFiles
from ..registry import DatasetFacts
from .report import Finding, fault, ok

# Other numbers than the released ones that have a reason: (title of the set, split, pairs) -> what they are.
_KNOWN_PAIRS = {
    ("CVUSA", "train", 34_769): "the authors' cleaned list, without the later copies of 763 repeated places",
    ("CVUSA", "train", 34_770): "the cleaned list with the one place that the authors' list lost by a slip",
    ("CVUSA", "test", 8_841): "the authors' cleaned list, without the later copies of 43 repeated places",
    ("CVACT", "train", 35_531): "one train pair, 1LqOHPdTiBbRucz-jFOSbQ, was never released",
    ("Pitts30k", "test", 7_608): "the val list, which was asked for",
    ("Pitts250k", "test", 7_608): "the val list, which was asked for",
    ("CVACT", "test", 92_802): "the large test list valSetAll, of which val is a part",
}
# Files more than the lists name, by folder: known releases.
_KNOWN_EXTRA = {("streetview/panos", 100): "100 panoramas of CVUSA were released without an aerial"}
_FOLDERS_NAMED = 8  # a set of more folders gets one number for all of them


def check_counts(index: Split, facts: DatasetFacts) -> Finding:
    """Pairs of one split as its lists name them; lists of one's own may have any length."""
    pairs = index.total_pairs or len(index.pairs)
    gallery = f", gallery of {len(index.references):,}" if index.split == "test" else ""
    lists = f", {index.provenance} lists" if index.provenance else ""
    text = f"{index.split} {pairs:,} pairs{gallery}{lists}"
    released = None if facts.pairs is None else facts.pairs[index.split == "test"]
    if released in (None, pairs):
        return ok("counts", text)
    reason = _KNOWN_PAIRS.get((facts.title.split(" ")[0], index.split, pairs))
    if reason:
        return ok("counts", f"{text} ({reason})")
    if "custom" in index.provenance or any(note.startswith("limited to") for note in index.notes):
        return ok("counts", f"{text} (the released list names {released:,} pairs; numbers on this one are your own)")
    return fault(
        "counts",
        f"{text}, but the released list names {released:,} pairs",
        f"Copy the {index.split} list of {facts.title} again: it is not whole.",
    )


def check_folders(indexes: Sequence[Split]) -> Finding | None:
    """Files in every folder of images beside those that the lists use; None where images are no files."""
    used: dict[Path, set[str]] = defaultdict(set)
    for index in indexes:
        for images in (index.queries, index.references):
            for path in images.paths if isinstance(images, ImageFiles) else ():
                folder, _, name = path.rpartition("/")
                used[images.root / folder].add(name)
    if not used:
        return None
    shared = os.path.commonpath(used)
    counts = {os.path.relpath(folder, shared): (_count_files(folder), len(names)) for folder, names in used.items()}
    if len(counts) > _FOLDERS_NAMED:
        held, named = map(sum, zip(*counts.values()))
        return ok("folders", f"{len(counts):,} folders in {shared} hold {held:,} files, the lists use {named:,}")
    return ok("folders", "; ".join(_tell_folder(*item) for item in sorted(counts.items())))


def _tell_folder(folder: str, counts: tuple[int, int]) -> str:
    held, used = counts
    reasons = (why for (end, extra), why in _KNOWN_EXTRA.items() if folder.endswith(end) and held - used == extra)
    reason = next(reasons, "")
    return f"{folder} holds {held:,} files, the lists use {used:,}{f' ({reason})' if reason else ''}"


def _count_files(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(entry.is_file() for entry in entries)
