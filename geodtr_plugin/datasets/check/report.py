"""What a check found: sentences that say whether a thing is sound, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        sound: nothing is wrong with it.
        topic: what was looked at, in a word or two.
        text: what was found.
        remedy: a sentence that says what to do; for faults only.
    """

    sound: bool
    topic: str
    text: str
    remedy: str = ""

    @property
    def line(self) -> str:
        return f"{'ok   ' if self.sound else 'FAULT'} {self.topic}: {self.text}"


@dataclass(frozen=True)
class Report:
    """All findings about a data set, in the order of looking: what comes first often explains what follows."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.sound)

    @property
    def sound(self) -> bool:
        return not self.faults

    def lines(self) -> list[str]:
        """One line a finding, faults first, and one sentence: the first thing to do."""
        ordered = sorted(self.findings, key=lambda finding: finding.sound)
        return [*(finding.line for finding in ordered), self.next_step()]

    def next_step(self) -> str:
        """The remedy of the first fault; that the set can be used where there is none."""
        return self.faults[0].remedy if self.faults else f"Nothing is wrong with {self.title}: it can be used."


def ok(topic: str, text: str) -> Finding:
    return Finding(True, topic, text)


def fault(topic: str, text: str, remedy: str) -> Finding:
    return Finding(False, topic, text, remedy)


def listed(words: Iterable[str], most: int = 3) -> str:
    """The first few of some names, and how many more there are."""
    words = list(words)
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
