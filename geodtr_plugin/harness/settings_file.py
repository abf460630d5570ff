"""Settings as YAML: files for --config, and single words of a command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..methods.recipe import with_current_names
from ..utils.errors import UserError


def read_settings(file: Path) -> dict[str, Any]:
    """Return the settings in a YAML file, by their current names.

    Raises:
        UserError: there is no such file, or it cannot be read as settings.
    """
    if not file.is_file():
        raise UserError(f"There is no settings file {file}.")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as settings: {error}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no settings.", "Name a file such as the recipe.yaml of a run folder.")
    return with_current_names(content)


def value_of(word: Any) -> Any:
    """Return what a word of the command line means, as the parser will read it; what it will refuse, as it is."""
    try:
        return yaml.safe_load(word) if isinstance(word, str) else word
    except yaml.YAMLError:
        return word
