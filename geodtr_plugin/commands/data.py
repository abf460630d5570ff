"""`geodtr data`: the verbs about data sets on disk."""

from __future__ import annotations

from collections.abc import Sequence

from ..utils.console import complain, say
from ..utils.errors import UnknownNameError
from .data_check import check_command
from .data_write import write_command

HELP = """usage: geodtr data VERB ...

verbs:
  check    check a data set on disk (geodtr data check --help)
  write    write a synthetic city to a folder (geodtr data write --help)"""
VERBS = {"check": check_command, "write": write_command}


def data_command(argv: Sequence[str]) -> int:
    """Run the verb that the first word names, and return the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        say(HELP)
        return 0 if argv else 2
    if argv[0] not in VERBS:
        return complain(UnknownNameError("verb of 'data'", argv[0], VERBS))
    return VERBS[argv[0]](argv[1:])
