"""Text files that may be damaged, cut short or something else: their value, or a sentence that names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .errors import DamagedFileError

_KINDS = {dict: "an object {...}", list: "a list [...]"}


def read_text(path: str | os.PathLike[str], remedy: str = "") -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Args:
        path: the file.
        remedy: what to do where it cannot be read, a sentence.

    Raises:
        DamagedFileError: it is not there, may not be read, or is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read ({error.strerror}).", remedy) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DamagedFileError(f"Line {line} of {path} is not UTF-8 ({error.reason}).", remedy) from error


def read_json(path: str | os.PathLike[str], remedy: str = "", kind: type = dict) -> Any:
    """Return the value in a JSON file.

    Args:
        path: the file.
        remedy: what to do where it cannot be read, a sentence.
        kind: what the value must be, dict or list.

    Raises:
        DamagedFileError: it cannot be read, is no JSON, or its value is of another kind.
    """
    return parse_json(read_text(path, remedy), str(path), remedy, kind)


def parse_json(text: str, where: str, remedy: str = "", kind: type = dict) -> Any:
    """Return the value of JSON text; `where` is what messages call it, and the rest is as for `read_json`.

    Raises:
        DamagedFileError: it is no JSON, or its value is of another kind.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"{where} is no JSON (line {error.lineno}: {error.msg}).", remedy) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; a thousand brackets
        raise DamagedFileError(f"{where} is no JSON ({error}).", remedy) from error
    if not isinstance(value, kind):
        raise DamagedFileError(f"{where} does not hold {_KINDS[kind]}.", remedy)
    return value
