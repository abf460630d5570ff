"""`geodtr report`: one HTML page of a run, of several side by side, or of a comparison."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from ..utils.console import add_common_options, guarded, make_parser, parse_and_import, prepare_torch, say

DESCRIPTION = """Write a page about a run, about several side by side, or about a comparison.

  geodtr report runs/paper --open              report.html in the run's folder, which every run writes too
  geodtr report runs/a runs/b -o a_and_b.html  side by side, with paired differences
  geodtr report runs/compare-synth-suburb      report.html in the comparison's folder

The page is one file that needs no network and no scripts. Images of the data set, and what the network makes of them,
are in it where they can still be had.
"""


def report_command(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after a sentence on what was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _report(argv), argv)


def _report(argv: Sequence[str]) -> int:
    options = parse_and_import(report_parser(), argv)
    prepare_torch(options.threads)
    file = _write(options.runs, options.output, options.data_root)
    say(f"Written: {file} ({file.stat().st_size / 1e6:.1f} MB)")
    if options.open:
        import webbrowser

        webbrowser.open(file.resolve().as_uri())
    return 0


def _write(runs: Sequence[str], output: str | None, data_root: str | None) -> Path:
    from ..comparison.side_by_side import is_comparison, write_comparison_report, write_side_by_side
    from ..harness.report import write_report

    if len(runs) > 1:
        return write_side_by_side(runs, output or "report.html")
    if is_comparison(runs[0]):
        return write_comparison_report(runs[0], output)
    return write_report(runs[0], data_root, output)


def report_parser() -> ArgumentParser:
    """Return the options of `geodtr report`."""
    parser = make_parser("geodtr report RUN ... [-o FILE] [--open]", DESCRIPTION)
    add = parser.add_argument
    add("runs", type=str, nargs="+", help="folder of a run, folders of several, or the folder of a comparison")
    add("-o", "--output", type=str | None, help="the HTML file (default: report.html in the folder; of several: here)")
    add("--open", action="store_true", help="show it in a browser")
    add("--data-root", type=str | None, help="folder that holds the data sets, if it has moved")
    add_common_options(parser, "import", "threads", "debug")
    return parser
