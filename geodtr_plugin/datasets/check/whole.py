"""The checks in their order: the long form for the command, the quick form before every training."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...utils.errors import UserError
from ..aligned import collect_absent
from ..base import Split
from ..registry import SPLITS, DatasetFacts, facts_of, load_split, loader_of
from .alignment import PAIRS, check_alignment
from .counts import check_counts, check_folders
from .looking import look_at_images
from .missing import tell_missing, to_copy_again
from .report import Finding, Report, fault, ok
from .sizes import check_decoding, check_sizes
from .views import check_views

DECODED = 64  # images of each role and split that the command opens if not told otherwise
_QUICK_DECODED, _QUICK_PAIRS = 8, 32  # before a training: about a second on CVACT


@dataclass(frozen=True)
class Checked:
    """A report and what it is about.

    Args:
        report: the findings.
        indexes: the splits that could be read, with the pairs that are complete on disk.
        missing: files that the lists name and the disk lacks.
    """

    report: Report
    indexes: tuple[Split, ...]
    missing: tuple[Path, ...]


def check_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    decode: int | None = DECODED,
    seed: int = 0,
    **options: Any,
) -> Checked:
    """Looks at everything that is known to go wrong with a data set; what it finds is told, not raised.

    Args:
        name: one of `list_datasets()`.
        root: the folder to look in; without it, the environment variable GEODTR_DATA.
        decode: images of each role and split that are opened; None opens all.
        seed: chooses the images and pairs that are looked at.
        options: of the data set's loader.

    Raises:
        UnknownNameError: there is no such data set.
    """
    facts = facts_of(name)
    findings: list[Finding] = []
    missing: dict[Path, None] = {}
    indexes = []
    for split in SPLITS:
        if facts.pairs is not None and not facts.pairs[split == "test"]:  # for testing only
            continue
        index, told, lost = _read_split(name, split, root, options)
        findings += [finding for finding in told if finding not in findings]
        missing |= lost
        if index is not None:
            indexes.append(index)
    findings += [check_counts(index, facts) for index in indexes]
    folders = check_folders(indexes)
    findings += [] if folders is None else [folders]
    if indexes:
        findings += _look_inside(indexes, facts, decode, PAIRS, seed)
    return Checked(Report(facts.title, tuple(findings)), tuple(indexes), tuple(missing))


def quick_check(index: Split, seed: int = 0) -> Report:
    """The same checks on a few images of one split that has been loaded."""
    facts = facts_of(index.name)
    findings = _look_inside([index], facts, _QUICK_DECODED, _QUICK_PAIRS, seed)
    return Report(facts.title, (check_counts(index, facts), *findings))


def _read_split(
    name: str, split: str, root: str | os.PathLike[str] | None, options: dict[str, Any]
) -> tuple[Split | None, list[Finding], dict[Path, None]]:
    """One split as far as it is there, what is to be said about it, and the files it lacks."""
    with collect_absent() as absent:
        try:
            index = load_split(name, split, root, **options)
            where = f" ({index.layout})" if index.layout else ""
            return index, [ok("index", f"{split} parsed{where}"), *(ok("note", note) for note in index.notes)], {}
        except UserError as error:
            reason = str(error).replace("--data-root", "--root")  # the command's own word for it
    missing = to_copy_again(absent)
    if not missing:
        return None, [fault("index", reason, _remedy(reason))], {}
    index = None
    if "allow_partial" in inspect.signature(loader_of(name)).parameters:
        try:
            index = load_split(name, split, root, **options, allow_partial=True)
        except UserError:  # not one pair is complete
            pass
    return index, [tell_missing(split, list(missing), index)], missing


def _remedy(reason: str) -> str:
    """The sentence of a loader's error that says what to do: after what is wrong and where it looked."""
    sentences = re.split(r"(?<=[.]) +(?=[A-Z])", reason)
    advice = [sentence for sentence in sentences[1:] if not sentence.startswith("Looked in ")]
    return advice[0] if advice else sentences[0]


def _look_inside(
    indexes: Sequence[Split], facts: DatasetFacts, decode: int | None, pairs: int, seed: int
) -> list[Finding]:
    """What the pictures tell: sizes, whether they decode, and where north is."""
    looks = look_at_images(indexes, decode, seed)
    sizes = check_sizes(looks, facts)
    views = [finding for finding in map(check_views, indexes) if finding is not None]
    findings = [*sizes, *views, check_decoding(looks, decode is None)]
    swapped = any(finding.topic == "roles" for finding in sizes)
    if not swapped and all(index.centred for index in indexes):
        findings.append(check_alignment(indexes, pairs, seed))
    return findings
