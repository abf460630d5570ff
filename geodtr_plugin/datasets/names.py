"""Names of data sets as people give them: one, several, or a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from typing import Any

from ..utils.errors import UnknownNameError
from .registry import DATASETS, FOLDER, list_datasets


def expand_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the data sets that names and patterns stand for, each once, in the order of the words.

    In a pattern, `*`, `?` and `[...]` match within one part of a name, between hyphens: `synth-*` is every style but
    neither `synth-suburb-offset` nor `synth-suburb-ground`, which `synth-*-offset` and `synth-*-ground` name. What is
    registered under a pattern's own letters, and the path of own data, is taken as it is.

    Raises:
        UnknownNameError: no data set matches a pattern.
    """
    return tuple(dict.fromkeys(name for word in names for name in _matching(word)))


def _matching(word: str) -> Sequence[str]:
    if word.startswith(FOLDER) or not re.search(r"[*?[]", word) or word in DATASETS:
        return (word,)
    parts = [re.compile(translate(part)) for part in re.split(r"-(?![^\[]*\])", word)]
    names = [(name, name.split("-")) for name in list_datasets()]
    found = [
        name for name, own in names
        if len(own) == len(parts) and all(pattern.match(part) for pattern, part in zip(parts, own))
    ]  # fmt: skip
    if not found:
        raise UnknownNameError("data set", word, [*DATASETS, f"{FOLDER}PATH"])
    return found


def names_in(value: Any) -> tuple[str, ...]:
    """Return the names of training sets that a file of ours holds: a list, or of earlier versions one or null.

    Raises:
        TypeError: it holds something else.
    """
    names = () if value is None else (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"the training sets are {value!r}, not names")
    return names


def in_words(names: Sequence[str]) -> str:
    """Return names as a sentence holds them: "cvusa, cvact and vigor-same"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
