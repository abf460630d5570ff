"""Text out of files and file names made harmless for people's programs: terminals and spreadsheets.

A terminal obeys control characters: a file's name could clear the screen or forge a line. A spreadsheet computes a cell
that begins like a formula, and can be made to send data away.
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 controls but for tab and line end; marks that turn the direction of writing; halves of surrogate pairs
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LINE_CONTROLS = re.compile(f"[\t\n]|{_CONTROLS.pattern}")
_FORMULA = re.compile("'*[=+\\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def visible(text: str, one_line: bool = False) -> str:
    r"""Return text with control characters spelled out, such as `\x1b`; bytes of names that are no UTF-8 as `\xff`.

    Args:
        text: of any origin.
        one_line: spell out tab and line end too.
    """
    return (_LINE_CONTROLS if one_line else _CONTROLS).sub(_spelled_out, text)


def _spelled_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x7F else f"\\u{code:04x}"


def csv_cell(value: Any) -> Any:
    """Return a cell of a CSV file that no spreadsheet takes for a formula: a text like one gets a `'` before it.

    Numbers, also as text, stay as they are. `from_csv_cell` gives the text back.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def from_csv_cell(text: str) -> str:
    """Return the text that `csv_cell` made harmless, or that needed nothing."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
