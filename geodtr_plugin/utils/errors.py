"""Errors that are meant for the person at the keyboard: one sentence that says what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 32  # a longer list of known names is cut to those like the one asked for


class UserError(Exception):
    """A mistake in what was asked or in the data. Commands print its text and no traceback, and exit with 1."""


class UnknownNameError(UserError, KeyError):
    """A name that is not among the known ones."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        if len(known) > MOST_NAMES:
            known = [*difflib.get_close_matches(name, known, n=MOST_NAMES // 2, cutoff=0.4), "..."]
        super().__init__(f"There is no {kind} {name!r}.{hint} Known: {', '.join(known)}.")


class DatasetNotFoundError(UserError, FileNotFoundError):
    """A data set, or one of its index files, is not where it was looked for."""

    __str__ = Exception.__str__  # OSError formats (errno, text) pairs; the message is a plain sentence


class DatasetCorruptError(UserError):
    """An image or index file is there but cannot be used."""
