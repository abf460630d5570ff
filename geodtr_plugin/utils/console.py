"""What all commands share: common options, how words are read, and how mistakes are answered."""

from __future__ import annotations

import contextlib
import difflib
import os
import select
import signal
import sys
import threading
from argparse import SUPPRESS, Action, ArgumentError
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, TextIO

from jsonargparse import ArgumentParser, Namespace

from .errors import Terminated, UserError, from_system
from .registry import import_modules
from .visible import visible

COMMON_OPTIONS: dict[str, dict[str, Any]] = {  # name -> arguments of `add_argument`
    "import": {"type": str, "action": "append", "default": [],
               "help": "module or .py file that registers methods, losses, samplers or data sets of one's own"},
    "device": {"type": str, "default": "auto", "help": "auto, cpu, cuda or mps"},
    "workers": {"type": int, "default": 0, "help": "processes that decode images; 0 decodes in this one"},
    "threads": {"type": int | None, "help": "threads of torch on the CPU"},
    "debug": {"action": "store_true", "help": "show the traceback of errors"},
}  # fmt: skip


def guarded(command: Callable[[], int], argv: Sequence[str]) -> int:
    """Run a command and answer what stops it.

    With `--debug` among the words, errors keep their traceback.

    Args:
        command: does the work, and returns an exit code.
        argv: the words of the command line.

    Returns:
        The command's exit code; 1 after a `UserError` or one of the system (a full disk, a folder that cannot be
        written to), which is printed; 130 after Ctrl-C; 143 after SIGTERM; 141 if the reader of the output has left, as
        `head` does. The last three are what shells report for these signals.
    """
    # OpenMP threads wait by spinning, which makes a step three times slower as soon as another program wants a core;
    # so few turns cost nothing on an idle machine. It must be set before torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        try:
            with _terminable():
                return command()
        finally:
            sys.stdout.flush()  # a reader that has left is noticed here, and not when the process ends
    except UserError as error:
        if "--debug" in argv:
            raise
        return complain(error)
    except KeyboardInterrupt as interrupt:
        terminated = isinstance(interrupt, Terminated)
        say("\nTerminated." if terminated else "\nInterrupted.", error=True)
        return 143 if terminated else 130
    except BrokenPipeError:
        unread = [stream for stream in (sys.stdout, sys.stderr) if _lost_its_reader(stream)]
        if not unread:
            raise
        for stream in unread:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # else the last flush, at exit, fails again
        return 141
    except (OSError, RuntimeError) as error:
        known = from_system(error)
        if known is None or "--debug" in argv:
            raise
        return complain(known)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that nothing half done is left."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # where python does not allow it
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str, error: bool = False) -> None:
    """Print lines for people, on standard output or on standard error; control characters in them are spelled out."""
    print(visible(text), file=sys.stderr if error else sys.stdout, flush=True)


def _lost_its_reader(stream: TextIO) -> bool:
    """Tell whether a stream is a pipe that nobody reads any more."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except (AttributeError, OSError, ValueError):  # a system without such a look, or a stream without a file
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def complain(error: UserError) -> int:
    """Print the sentences of an error, and return the exit code 1."""
    number = os.environ.get("RANK") if int(os.environ.get("WORLD_SIZE", "1")) > 1 else None
    say(f"Error{f' in process {number}' if number else ''}: {error}", error=True)
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
        def _get_help_string(self, action: Action) -> str | None:
            if defaults or ("." not in action.dest and action.dest != "model"):
                return super()._get_help_string(action)
            default, action.default = action.default, SUPPRESS
            try:
                return super()._get_help_string(action)
            finally:
                action.default = default

    return ArgumentParser(prog=prog, description=description, exit_on_error=False, formatter_class=Formatter)


def add_common_options(parser: ArgumentParser, *names: str) -> None:
    """Add options that several commands have, by their names in `COMMON_OPTIONS`."""
    for name in names:
        parser.add_argument(f"--{name}", **COMMON_OPTIONS[name])


def parse(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Return the options that the words give.

    Raises:
        UserError: the words cannot be understood; a word that means nothing is answered with the nearest option.
    """
    try:
        return parser.parse_args(list(argv))
    except ArgumentError as error:
        text = " ".join(str(error).split())
        raise UserError(f"{text.rstrip('.')}.", _nearest_option(parser, text)) from error


def parse_and_import(parser: ArgumentParser, argv: Sequence[str]) -> Namespace:
    """Return the options that the words give, after importing the modules that `--import` names.

    Raises:
        UserError: the words cannot be understood, or a module cannot be imported.
    """
    options = parse(parser, argv)
    import_modules(options["import"])
    return options


def _nearest_option(parser: ArgumentParser, text: str) -> str:
    options = [option for action in parser._actions for option in action.option_strings]
    unknown = [word.split("=")[0] for word in text.split() if word.startswith("--") and word not in options]
    near = [match for word in unknown for match in difflib.get_close_matches(word, options, n=1)]
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{hint}--help lists the options." if unknown else ""


def prepare_torch(threads: int | None) -> None:
    """Set up this process for running a network: keep freed memory for the next batch, and use so many threads.

    Args:
        threads: of torch on the CPU; None leaves torch's choice.
    """
    import torch

    from .malloc import keep_freed_memory

    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
