"""Damaged text files are answered by a sentence that names the file, the line and what to do."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import pytest

from geodtr_plugin.utils.errors import DamagedFileError, UnknownNameError
from geodtr_plugin.utils.reading import read_json, read_json_lines, read_text, understood
from geodtr_plugin.utils.typed import check, typed


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"x.json cannot be read as JSON \(line 1"),
        (b'{"a": 1,\n"b', r"x.json cannot be read as JSON \(line 2: Unterminated string"),
        (b'{"a":\n "\xff"}', "x.json cannot be read: line 2 is not UTF-8"),
        (b"[" * 100_000, r"x.json cannot be read as JSON \(maximum recursion"),
        (b"9" * 5000, "x.json cannot be read as JSON|does not hold an object"),
        (b"[1]", r"x.json does not hold an object \{...\}"),
    ],
)
def test_what_is_no_json_is_named(tmp_path, content, said):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=f"{said}.*Copy it again"):
        read_json(tmp_path / "x.json", "Copy it again.")


def test_what_is_good_is_read(tmp_path):
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert read_json(tmp_path / "x.json") == {"a": [1]} and read_text(tmp_path / "x.json")[0] == "{"
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    assert [line["a"] for line in read_json_lines(tmp_path / "x.jsonl")] == [1, 2]
    with pytest.raises(DamagedFileError, match=r"none.json cannot be read \(No such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "x.jsonl").write_text('{"a": 1}\n{"a": \n')
    with pytest.raises(DamagedFileError, match="Line 2 of .*x.jsonl cannot be read as JSON"):
        list(read_json_lines(tmp_path / "x.jsonl"))


@pytest.mark.parametrize(
    "error", [KeyError("a"), TypeError("a"), ValueError("a"), csv.Error("a"), OverflowError("a"), IndexError("a"),
              AttributeError("a"), RecursionError("a"), UnknownNameError("method", "a", ["b"])],
)  # fmt: skip
def test_wrong_shapes_become_a_sentence_with_the_cause(error):
    with pytest.raises(DamagedFileError, match="t.json cannot be used: .*a") as caught, understood("t.json"):
        raise error
    assert caught.value.__cause__ is error
    with pytest.raises(OSError), understood("t.json"):  # of which nothing in the file is the reason
        raise OSError("disk")


class Part(TypedDict):
    name: str


@dataclass
class Whole:
    number: int
    share: float = 0.5
    kind: Literal["a", "b"] = "a"
    size: tuple[int, int] | None = None
    parts: dict[str, Part] | None = None
    rest: Any = None


def test_types_are_those_of_the_annotations():
    assert typed(Whole, {"number": 1, "share": 2, "size": [3, 4], "parts": {"x": {"name": "y", "more": 1}}}).share == 2
    for values, said in (
        ({}, "it lacks number"),
        ({"number": True}, "it.number is True, not int"),
        ({"number": 1.0}, "it.number is 1.0, not int"),
        ({"number": 1, "share": "x"}, "it.share is 'x', not float"),
        ({"number": 1, "kind": "c"}, "it.kind is 'c', not 'a' or 'b'"),
        ({"number": 1, "size": [1]}, "it.size is .1., not a list of 2"),
        ({"number": 1, "size": [1, None]}, r"it.size\[1\] is None, not int"),
        ({"number": 1, "parts": {"x": {}}}, "it.parts.x lacks name"),
        ({"number": 1, "nunber": 2}, "it has the unknown entry 'nunber'"),
        ([1], r"it is \[1\], not an object"),
    ):
        with pytest.raises(ValueError, match=said):
            typed(Whole, values)
    with pytest.raises(ValueError, match=r"x\[1\] is 'a', not int"):
        check([1, "a"], list[int], "x")
