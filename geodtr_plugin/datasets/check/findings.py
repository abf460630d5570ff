"""What a check looks at, and what it finds: whether a thing is sound, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base import Split
from ..registry import DatasetFacts


@dataclass(frozen=True)
class OpenedImage:
    """One image that was opened.

    Args:
        split: "train" or "test".
        role: "queries" or "references".
        name: its path, or its number where it is no file.
        size: (height, width) upright, before any crop; of no meaning where it does not decode.
        error: what is wrong with it, a sentence; empty where it decodes.
    """

    split: str
    role: str
    name: str
    size: tuple[int, int]
    error: str = ""


@dataclass(frozen=True)
class Inspection:
    """What all checks of a data set look at.

    Args:
        facts: about the data set.
        splits: one at least.
        images: those that were opened, of all splits.
        opened_all: they are all images that are there.
        pairs: pairs in which north is measured, at most.
        seed: chooses the pairs.
        incomplete: names of the splits that lack files, of which only complete pairs are here.
    """

    facts: DatasetFacts
    splits: Sequence[Split]
    images: Sequence[OpenedImage]
    opened_all: bool
    pairs: int
    seed: int
    incomplete: Collection[str] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        sound: nothing is wrong with it.
        topic: what was looked at, in a word or two; "note" for a note of the split.
        text: what it is like.
        remedy: a sentence that says what to do; for faults only.
    """

    sound: bool
    topic: str
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """The finding as one line."""
        return f"{'ok   ' if self.sound else 'FAULT'} {self.topic}: {self.text}"


@dataclass(frozen=True)
class Report:
    """All findings about a data set, in the order of looking: what comes first often explains what follows."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that are not sound."""
        return tuple(finding for finding in self.findings if not finding.sound)

    @property
    def sound(self) -> bool:
        """Nothing is wrong with the data set."""
        return not self.faults

    def lines(self) -> list[str]:
        """Return one line a finding, faults first, and one sentence: the first thing to do."""
        ordered = sorted(self.findings, key=lambda finding: finding.sound)
        return [*(finding.line for finding in ordered), self.next_step()]

    def next_step(self) -> str:
        """Return the remedy of the first fault; that the set can be used where there is none."""
        return self.faults[0].remedy if self.faults else f"Nothing is wrong with {self.title}: it can be used."


def ok(topic: str, text: str) -> Finding:
    """Return a finding that nothing is wrong."""
    return Finding(True, topic, text)


def fault(topic: str, text: str, remedy: str) -> Finding:
    """Return a finding that something is wrong, and what to do."""
    return Finding(False, topic, text, remedy)


def first_few(words: Iterable[str | Path], most: int = 3) -> str:
    """Join the first few of some names, and say how many more there are."""
    texts = list(map(str, words))
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
