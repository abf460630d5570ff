"""Text files that may be damaged, cut short or something else: their value, or a sentence that names the file."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import DamagedFileError, UserError

_WRONG_SHAPES = (
    TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError, csv.Error,
)  # fmt: skip
_KINDS: dict[type, str] = {dict: "an object {...}", list: "a list [...]"}


def read_text(
    path: str | os.PathLike[str], remedy: str = "", error_type: type[DamagedFileError] = DamagedFileError
) -> str:
    """Return the text of a UTF-8 file, without a byte order mark.

    Args:
        path: the file.
        remedy: what to do where it cannot be read, a sentence.
        error_type: what is raised then.

    Raises:
        DamagedFileError: it is not there, may not be read, or is not UTF-8.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise error_type(f"{path} cannot be read ({error.strerror}).", remedy) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise error_type(f"{path} cannot be read: line {line} is not UTF-8 ({error.reason}).", remedy) from error


def read_json(path: str | os.PathLike[str], remedy: str = "", kind: type = dict) -> Any:
    """Return the value in a JSON file.

    Args:
        path: the file.
        remedy: what to do where it cannot be read, a sentence.
        kind: what the value must be; object takes any.

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
        raise DamagedFileError(f"{where} cannot be read as JSON (line {error.lineno}: {error.msg}).", remedy) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; a thousand brackets
        raise DamagedFileError(f"{where} cannot be read as JSON ({error}).", remedy) from error
    if not isinstance(value, kind):
        raise DamagedFileError(f"{where} does not hold {_KINDS[kind]}.", remedy)
    return value


@contextlib.contextmanager
def understood(where: str | os.PathLike[str], remedy: str = "") -> Iterator[None]:
    """Answer what a block raises about the shape of a file's content with a sentence that names the file.

    Args:
        where: the file, or a line of it.
        remedy: what to do, a sentence; a mistake that names its own keeps it.

    Raises:
        DamagedFileError: a key is missing, a value is of another type, or out of its range.
    """
    try:
        yield
    except DamagedFileError:
        raise
    except UserError as error:
        raise DamagedFileError(f"{where} cannot be used: {error.message}", error.remedy or remedy) from error
    except KeyError as error:
        raise DamagedFileError(f"{where} cannot be used: it lacks {error}.", remedy) from error
    except _WRONG_SHAPES as error:
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise DamagedFileError(f"{where} cannot be used: {reason}.", remedy) from error


def read_json_lines(path: str | os.PathLike[str], remedy: str = "") -> Iterator[dict[str, Any]]:
    """Return the objects of a file with a JSON object on each line.

    Raises:
        DamagedFileError: it cannot be read, or a line holds no object; the message names the line.
    """
    try:
        with open(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"Line {number} of {path}"
                with understood(where, remedy):
                    text = line.decode()
                yield parse_json(text, where, remedy)
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read ({error.strerror}).", remedy) from error
