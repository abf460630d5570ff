"""What all commands share: how options are read, and how mistakes are answered."""

from __future__ import annotations

import difflib
import os
import sys
from argparse import SUPPRESS, Action, ArgumentError
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentParser, Namespace

from .errors import UserError


def guarded(command: Callable[[], int], argv: Sequence[str]) -> int:
    """Run a command; return its exit code, 1 after a sentence that says what was wrong, or 130 after Ctrl-C.

    With `--debug` among the words, errors keep their traceback.
    """
    try:
        return command()
    except UserError as error:
        if "--debug" in argv:
            raise
        return complain(error)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def complain(error: UserError) -> int:
    """Print the sentences of an error, and return the exit code 1."""
    number = os.environ.get("RANK") if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None
    print(f"Error{f' in process {number}' if number else ''}: {error}", file=sys.stderr, flush=True)
    return 1


def make_parser(prog: str, description: str, defaults: bool = True) -> ArgumentParser:
    """Return a parser that raises instead of exiting, and leaves the lines of the description alone.

    Args:
        prog: what the usage line calls the command.
        description: text above the options.
        defaults: show the defaults of nested settings (`--optim.lr`); False where they are not known yet.
    """
    from argparse import RawDescriptionHelpFormatter

    from jsonargparse import DefaultHelpFormatter

    class Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
        def _get_help_string(self, action: Action) -> str:
            if defaults or ("." not in action.dest and action.dest != "model"):
                return super()._get_help_string(action)
            default, action.default = action.default, SUPPRESS
            try:
                return super()._get_help_string(action)
            finally:
                action.default = default

    return ArgumentParser(prog=prog, description=description, exit_on_error=False, formatter_class=Formatter)


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Return the options; a word that means nothing is answered with the nearest option.

    Raises:
        UserError: the words cannot be understood.
    """
    try:
        return parser.parse_args(list(argv))
    except ArgumentError as error:
        text = " ".join(str(error).split())
        raise UserError(f"{text.rstrip('.')}.", _nearest_option(parser, text)) from error


def _nearest_option(parser: ArgumentParser, text: str) -> str:
    options = [option for action in parser._actions for option in action.option_strings]
    unknown = [word.split("=")[0] for word in text.split() if word.startswith("--") and word not in options]
    near = [match for word in unknown for match in difflib.get_close_matches(word, options, n=1)]
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{hint}--help lists the options." if unknown else ""
