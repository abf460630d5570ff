"""How commands end: an exit code and a sentence, whatever happens."""

from __future__ import annotations

import subprocess
import sys

import pytest

from geodtr_plugin.utils.console import add_common_options, guarded, make_parser, parse, parse_and_import
from geodtr_plugin.utils.errors import UserError


def failing(error: BaseException):
    def command():
        raise error

    return command


def test_errors_become_exit_codes(capsys):
    assert guarded(lambda: 7, []) == 7
    assert guarded(failing(UserError("This is wrong.", "Do that.")), []) == 1
    assert capsys.readouterr().err == "Error: This is wrong. Do that.\n"
    assert guarded(failing(KeyboardInterrupt()), []) == 130
    with pytest.raises(UserError):
        guarded(failing(UserError("This is wrong.")), ["--debug"])


def test_a_pipe_that_broke_elsewhere_is_no_reader_that_left():
    with pytest.raises(BrokenPipeError):
        guarded(failing(BrokenPipeError()), [])


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_of_the_output_that_leaves_is_answered_in_silence(lines):
    code = (
        "import sys; from geodtr_plugin.utils.console import guarded\n"
        f"sys.exit(guarded(lambda: print('a line\\n' * {lines}), []))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before anything is printed: as `head` that has seen enough
        assert process.stderr.read() == b"" and process.wait() == 141


def test_modules_that_are_named_are_imported_once(tmp_path, capsys):
    (tmp_path / "imported_by_a_test.py").write_text("print('here')")
    parser = make_parser("test", "")
    add_common_options(parser, "import", "debug")
    for _ in range(2):
        assert parse_and_import(parser, ["--import", str(tmp_path / "imported_by_a_test.py")]).debug is False
    assert capsys.readouterr().out == "here\n"
    with pytest.raises(UserError, match="--import no_such_module failed"):
        parse_and_import(parser, ["--import", "no_such_module"])
    with pytest.raises(UserError, match="Did you mean --import"):
        parse(parser, ["--imprt", "x"])
