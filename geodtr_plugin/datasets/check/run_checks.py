"""The checks in their order: of a whole data set for the command, of a few images before every training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...utils.errors import UserError
from ...utils.roles import ROLE_FOLDERS, SPLITS
from ..base import Split
from ..registry import DatasetFacts, facts_of, load_split, options_of
from ..role_files import MissingFilesError
from . import DECODED
from .findings import Finding, Inspection, Report, fault, first_few, ok
from .images import check_decoding, check_sizes, open_images
from .north import PAIRS, check_north

_QUICK_DECODED, _QUICK_PAIRS = 8, 32  # before a training: about a second on CVACT


@dataclass(frozen=True)
class CheckedDataset:
    """A report and what it is about.

    Args:
        report: the findings.
        splits: those that could be read, with the pairs that are complete on disk.
        missing: files that the lists name and the disk lacks.
    """

    report: Report
    splits: tuple[Split, ...]
    missing: tuple[Path, ...]


def check_dataset(
    name: str, root: str | os.PathLike[str] | None = None, decode: int | None = DECODED,
    sample_seed: int = 0, **options: Any,
) -> CheckedDataset:  # fmt: skip
    """Look at everything that is known to go wrong with a data set; faults are findings, not raised.

    Args:
        name: one of `list_datasets()`, or `folder:PATH`.
        root: the folder to look in; without it, the environment variable GEODTR_DATA.
        decode: images of each role and split that are opened; None opens all.
        sample_seed: chooses the images and pairs that are looked at.
        options: of the data set's loader, which may have a seed of its own.

    Raises:
        UnknownNameError: there is no such data set.
    """
    facts = facts_of(name)
    findings: list[Finding] = []
    splits: list[Split] = []
    incomplete: list[str] = []
    missing: dict[Path, None] = {}
    for part in SPLITS:
        if facts.released_pairs(part) == 0:  # for testing only
            continue
        split, about_it, lost = _read_split(name, part, root, options)
        findings += [finding for finding in about_it if finding not in findings]
        missing |= dict.fromkeys(lost)
        incomplete += [part] if lost else []
        splits += [] if split is None else [split]
    if splits:
        findings += _look_inside(facts, splits, decode, PAIRS, sample_seed, incomplete)
    return CheckedDataset(Report(facts.title, tuple(findings)), tuple(splits), tuple(missing))


def quick_check(split: Split, seed: int = 0) -> Report:
    """Look at a few images of one split that has been loaded.

    Raises:
        UnknownNameError: the split is of no known data set.
    """
    facts = facts_of(split.name)
    return Report(facts.title, tuple(_look_inside(facts, [split], _QUICK_DECODED, _QUICK_PAIRS, seed)))


def _look_inside(
    facts: DatasetFacts, splits: Sequence[Split], decode: int | None, pairs: int, seed: int,
    incomplete: Sequence[str] = (),
) -> list[Finding]:  # fmt: skip
    data = Inspection(facts, splits, open_images(splits, decode, seed), decode is None, pairs, seed, incomplete)
    return [finding for check in CHECKS for finding in check(data)]


def _read_split(
    name: str, part: str, root: str | os.PathLike[str] | None, options: dict[str, Any]
) -> tuple[Split | None, list[Finding], Sequence[Path]]:
    """Return one split as far as it is there, the findings about reading it, and the files that it lacks."""
    try:
        split = load_split(name, part, root, **options)
    except MissingFilesError as error:
        left = _complete_pairs(name, part, root, options)
        return left, [_missing_finding(part, error.missing, left)], error.missing
    except UserError as error:
        return None, [fault("lists", error.message, error.remedy or error.message)], ()
    where = f" ({split.layout})" if split.layout else ""
    return split, [ok("lists", f"{part} parsed{where}"), *(ok("note", note) for note in split.notes)], ()


def _complete_pairs(name: str, part: str, root: str | os.PathLike[str] | None, options: dict[str, Any]) -> Split | None:
    """Return what is left of a split without its missing files; None if nothing is."""
    if "allow_partial" not in options_of(name):
        return None
    try:
        return load_split(name, part, root, **options, allow_partial=True)
    except UserError:
        return None


def _missing_finding(part: str, missing: Sequence[Path], split: Split | None) -> Finding:
    """Name missing files, and the folders that hold nothing."""
    complete = "no pair is complete"
    if split is not None:
        complete = f"{len(split.pairs):,} of {split.total_pairs or len(split.pairs):,} pairs are complete"
    empty = sorted({_outermost_empty(path.parent) for path in missing if _is_empty(path.parent)})
    nothing = f"; {first_few(empty)} {'hold' if empty[1:] else 'holds'} nothing" if empty else ""
    files = f"{len(missing):,} file{'s are' if len(missing) > 1 else ' is'} missing"
    lists_them = " (--write-missing FILE lists them all)" if len(missing) > 1 else ""
    again = f"{empty[0]} again" if empty else f"the missing files again, first {missing[0]}{lists_them}"
    text = f"{part}: {complete}, {files}{nothing}: {first_few(missing)}"
    return fault("missing", text, f"Extract or copy {again}.")


def _outermost_empty(folder: Path) -> Path:
    """Return the folder itself, or the one above it that holds nothing else either."""
    while _is_empty(folder.parent):
        folder = folder.parent
    return folder


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return not any(True for _ in entries)
    except OSError:
        return True


def check_counts(data: Inspection) -> list[Finding]:
    """Count the pairs of every split as its lists name them, against what was released; own lists have any length."""
    findings = []
    for split in data.splits:
        pairs, released = split.total_pairs or len(split.pairs), data.facts.released_pairs(split.split)
        reason = ""
        if released not in (None, pairs):
            own = f"the released list names {released:,} pairs; numbers on this one are your own"
            reason = f" ({data.facts.other_pairs.get((split.split, pairs), own)})"
        here, gallery = "", f", gallery of {len(split.references):,}" if split.split == "test" else ""
        if split.split in data.incomplete:
            here, gallery = " in the lists", f", of which {len(split.pairs):,} are complete here"
        lists = f", {split.provenance} lists" if split.provenance else ""
        findings.append(ok("counts", f"{split.split} {pairs:,} pairs{here}{gallery}{lists}{reason}"))
    return findings


def check_leaks(data: Inspection) -> list[Finding]:
    """Tell how many queries of a test split it gives away, and under which names results have numbers without them."""
    findings = []
    for split in data.splits:
        for subset in filter(lambda subset: subset.leak, split.subsets):
            count, total = len(split.queries) - len(subset.queries), len(split.queries)
            many = f"{count:,}" if count else "none"
            results = f"; results also have numbers without them ({subset.name})" if count else ""
            findings.append(ok("leaks", f"{split.split}: {many} of {total:,} queries show {subset.leak}{results}"))
    return findings


def check_exchanged_folders(data: Inspection) -> list[Finding]:
    """Find drone views and satellite images in each other's folders: their sizes are the same, their numbers are not.

    A building has many drone views and one satellite image.
    """
    findings = []
    for split in data.splits:
        counts = {}
        for role, places in zip(ROLE_FOLDERS, (split.query_places, split.reference_places)):
            path = getattr(split, role).path(0)
            folder = Path() if path is None else path.parent.parent  # a folder of folders, one a building
            kind = next((kind for kind in ("drone", "satellite") if kind in folder.name), None)
            counts[kind] = len(places), len(set(places.tolist())), folder
        if not {"drone", "satellite"} <= set(counts):
            continue
        (many, seen, drone), (few, buildings, satellite) = counts["drone"], counts["satellite"]
        if many / seen < few / buildings:
            text = (
                f"{drone} holds {many:,} images of {seen:,} buildings and {satellite} {few:,} of {buildings:,}, but a "
                "building has many drone views and one satellite image: the two are swapped"
            )
            findings.append(fault("roles", text, f"Let {drone} and {satellite} change names."))
    return findings


CHECKS = (check_counts, check_leaks, check_sizes, check_exchanged_folders, check_decoding, check_north)
