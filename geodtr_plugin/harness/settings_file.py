"""Settings as YAML: files for --config, and single words of a command line; nothing but plain values is ever made."""

from __future__ import annotations

import os
from typing import Any, TypedDict

import yaml

from ..datasets.names import names_in
from ..methods.earlier_names import with_current_names
from ..utils.errors import DamagedFileError, UserError
from ..utils.reading import read_text, understood
from ..utils.typed import check

MOST_VALUES = 100_000
REMEDY = "Name a file such as the recipe.yaml of a run folder."


class FirstSettings(TypedDict, total=False):
    """The settings on which the defaults of all others depend, and what the parser would not check."""

    method: str
    recipe: str
    train: list[str] | None
    data_root: str | None
    data: dict[str, Any] | None
    init_weights: str | None
    test: list[str] | None


def read_settings(file: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the settings in a YAML file, by their current names.

    Raises:
        UserError: there is no such file, or it cannot be read as settings.
    """
    if not os.fspath(file):
        raise UserError("--config names no file.", REMEDY)
    if not os.path.isfile(file):
        raise UserError(f"There is no settings file {file}.", REMEDY)
    text = read_text(file, REMEDY)
    with understood(file, REMEDY):
        try:
            content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # some ten times as fast
        except yaml.YAMLError as error:
            reason = " ".join(str(error).split())
            raise DamagedFileError(f"{file} cannot be read as settings: {reason}.", REMEDY) from error
        if not isinstance(content, dict):
            raise DamagedFileError(f"{file} holds no settings.", REMEDY)
        _check_size(content)
        check(content, dict[str, Any], "its content")
        content = with_current_names(content)
        if "train" in content:
            content["train"] = list(names_in(content["train"])) or None  # earlier: one name or null
        check(content, FirstSettings, "its content")
        check(content.get("import") or [], list[str], "import")
    return content


def _check_size(content: Any) -> None:
    """Raise ValueError for content that grows beyond all settings when its aliases are followed, or holds itself."""
    left, count = [content], 0
    while left:
        value = left.pop()
        left += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        count += 1
        if count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values, or holds itself")


def value_of(word: Any) -> Any:
    """Return what a word of the command line means, as the parser will read it; what it will refuse, as it is."""
    try:
        return yaml.safe_load(word) if isinstance(word, str) else word
    except (yaml.YAMLError, ValueError, RecursionError):
        return word
