"""The console script `geodtr`: the first word is the verb, and each verb is a module of this folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ..utils.console import guarded, say
from ..utils.errors import UnknownNameError

HELP = """usage: geodtr VERB ...

verbs:
  run           train and test a method
  compare       train and test several methods, or variants of one, over seeds
  paper         the tables and figures of the GeoDTR+ paper by name
  models        what there is: papers, sizes, published numbers, where the authors keep weights
  report        a page about a run, several, or a comparison
  export        a trained model as a folder that anyone can load, or as a program of torch.export
  data check    look at a data set on disk for all that is known to go wrong
  data write    write tiles and photos of a synthetic city into a folder, to try the next two on
  index build   embed a folder of aerial tiles, or of photos with known places, to search in
  locate        where was this photo taken?
  serve         the same as a local page, and for programs

geodtr VERB --help says more."""
VERBS = {  # verb -> module, function
    "run": (".run", "run_command"),
    "compare": ("..comparison.compare", "compare_command"),
    "paper": ("..comparison.paper.command", "paper_command"),
    "models": (".models", "models_command"),
    "report": (".report", "report_command"),
    "export": (".export", "export_command"),
    "data": (".data", "data_command"),
    "index": (".index", "index_command"),
    "locate": (".locate", "locate_command"),
    "serve": (".serve", "serve_command"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that the first word names, and return the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _run_verb(argv), argv)


def _run_verb(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        say(HELP)
        return 0 if argv else 2
    if argv[0] not in VERBS:
        raise UnknownNameError("verb", argv[0], VERBS)
    module, function = VERBS[argv[0]]
    return getattr(importlib.import_module(module, __package__), function)(argv[1:])
