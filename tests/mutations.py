"""Mutated files: what a disk, a cut transfer, an editor or an attacker makes of text."""

from __future__ import annotations

import json
import os
import re

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# files that all readers get together; GEODTR_MUTATIONS=10000 makes a run thorough
TOTAL = int(os.environ.get("GEODTR_MUTATIONS", "1500"))

TOKENS = [
    b'"', b"'", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b" ", b"{", b"}", b"[", b"]", b":", b"-", b"#", b"&a ", b"*a",
    b"!!python/object/apply:os.abort []", b"null", b"true", b"NaN", b"1e999", b"-1", b"0", b"9" * 30, b"9" * 5000,
    b"[" * 2000, b"{" * 2000, b'{"a":' * 2000, b"../", b"/", b"\\", b"..", b"\0", b"\xff", b"\xc3", b"\xef\xbb\xbf",
    b"\xe2\x80\xa8", b"\\ud800", b"x" * 140_000, "é".encode(), b"=1+1", b"%", b"{}", b"@", b"|", b">", b"? ", b"- ",
]  # fmt: skip
VALUES = [None, True, -1, 0, 10**30, 1e308, float("nan"), "", "x", "../x", "\ud800", [], {}, [[]], {"x": 1}, [1, "x"]]


def share(part: float):
    """Return the settings of Hypothesis for a reader that gets a part of TOTAL; in the suite, the same every time."""
    return settings(
        max_examples=max(1, round(part * TOTAL)), deadline=None, database=None, derandomize=TOTAL == 1500,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """Draw a mutation of a file: of its bytes and, where it is JSON or YAML, of its values."""
    parse = _structure(content)
    if parse is not None and draw(st.booleans()):
        read, write = parse
        return write(draw(_changed(read(content)))).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        cells = [match.span() for match in re.finditer(rb"[^,;:\s]+", content)]
        if cells and draw(st.booleans()):
            start, end = draw(st.sampled_from(cells))
            if draw(st.booleans()):  # the number at its end, such as the id in the name of a file
                start = end - len(re.search(rb"\d*(\.\w+)?$", content[start:end])[0])
        change = draw(st.sampled_from(["cut", "delete", "insert", *["replace"] * 4, "repeat", "empty"]))
        token = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)))
        content = {
            "cut": content[:start], "delete": content[:start] + content[end:], "empty": b"",
            "insert": content[:start] + token + content[start:], "replace": content[:start] + token + content[end:],
            "repeat": content[:end] + content[start:],
        }[change]  # fmt: skip
    return content


def _structure(content: bytes):
    """Return functions that read and write the values of JSON, of JSON lines, or of YAML; None for tables."""
    for read, write in ((json.loads, json.dumps), (_read_lines, _write_lines), (_read_yaml, yaml.safe_dump)):
        try:
            if isinstance(read(content), (dict, list)):
                return read, write
        except (ValueError, yaml.YAMLError):
            pass
    return None


def _read_yaml(content: bytes):
    return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _read_lines(content: bytes) -> list:
    return [json.loads(line) for line in content.splitlines()]


def _write_lines(value) -> str:
    return "".join(json.dumps(x) + "\n" for x in value) if isinstance(value, list) else json.dumps(value)


@st.composite
def _changed(draw, value):
    """Draw a structure with one value somewhere in it changed, removed or renamed."""
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 4)):
        copy = dict(value) if isinstance(value, dict) else list(value)
        key = draw(st.sampled_from(list(copy) if isinstance(copy, dict) else range(len(copy))))
        action = draw(st.sampled_from(["inside"] * 5 + ["remove", "rename"]))
        if action == "inside":
            copy[key] = draw(_changed(copy[key]))
        elif action == "rename" and isinstance(copy, dict):
            copy[draw(st.sampled_from(["x", "", "a.b", "name"]))] = copy.pop(key)
        else:
            del copy[key]
        return copy
    return draw(st.sampled_from(VALUES))
