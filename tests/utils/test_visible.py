"""Untrusted text on a terminal and in a spreadsheet."""

from __future__ import annotations

import ast
import csv
import io
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import geodtr_plugin
from geodtr_plugin.harness.log import log, start_log, stop_log
from geodtr_plugin.utils.console import complain, say
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.visible import csv_cell, from_csv_cell, visible

EVIL = "a\x1b[2Jb\rc\x07\x9b31m\u202ed"
SPELLED = "a\\x1b[2Jb\\x0dc\\x07\\u009b31m\\u202ed"


def test_control_characters_are_spelled_out_and_text_is_left_alone():
    assert visible(EVIL) == SPELLED
    assert visible("Grüße, 東京 ± 1 %\t|\n") == "Grüße, 東京 ± 1 %\t|\n"
    assert visible("a\nb\tc", one_line=True) == "a\\x0ab\\x09c"
    assert visible(os.fsdecode(b"\xff.jpg")) == "\\xff.jpg" and visible("\ud800") == "\\ud800"


def test_what_commands_say_and_log_is_spelled_out(tmp_path, capsys):
    say(EVIL)
    say(EVIL, error=True)
    assert complain(UserError(EVIL)) == 1
    start_log(tmp_path / "log.txt")
    log.info("read %s", EVIL)
    logging.getLogger("geodtr_plugin").warning(EVIL)
    stop_log()
    printed = capsys.readouterr()
    assert printed.out == f"{SPELLED}\nread {SPELLED}\n{SPELLED}\n" and printed.err == f"{SPELLED}\nError: {SPELLED}\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == f"read {SPELLED}\n{SPELLED}\n"


def test_nothing_prints_but_say():
    package = Path(geodtr_plugin.__file__).parent
    allowed = {"utils/console.py", "worlds/worker.py"}  # the latter speaks to its parent process, in numbers
    guilty = [
        f"{file.relative_to(package)}:{node.lineno}"
        for file in package.rglob("*.py")
        if file.relative_to(package).as_posix() not in allowed
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert guilty == []


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("+1+1", "'+1+1"), ("-76RImE", "'-76RImE"), ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("'=1", "''=1"), ("-1.5", "-1.5"), ("+3e-05", "+3e-05"), ("a=1", "a=1"),
        ("'quoted'", "'quoted'"), ("", ""), (-1.5, -1.5), (None, None),
    ],
)  # fmt: skip
def test_formulas_become_text_and_numbers_stay_numbers(cell, written):
    assert csv_cell(cell) == written
    if isinstance(cell, str):
        assert from_csv_cell(written) == cell


@settings(database=None, derandomize=True)
@given(st.text("'=+-@\t\r\n 1.eE,\"ab", max_size=8))
def test_every_cell_is_read_back_as_it_was(cell):
    file = io.StringIO(newline="")
    csv.writer(file).writerow([csv_cell(cell), "x"])
    file.seek(0)
    assert from_csv_cell(next(csv.reader(file))[0]) == cell
