"""The report of a comparison: table.md, table.csv, plot.png, report.html and the tables for the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..datasets.names import names_in
from ..harness.results import COLUMNS
from ..utils.figures import failing_with_a_warning
from ..utils.files import write_text
from ..utils.tables import duration, markdown_table, text_table
from ..utils.visible import csv_cell
from . import statistics as report_numbers
from .jobs import Failure
from .notes import notes_on
from .statistics import Row, Summary, chance_at, columns_of, kind_of, paired_difference, read_row, tests_of

if TYPE_CHECKING:
    from ..harness.run_folder import RunFolder
    from .jobs import Variant

NONE = "-"
CSV_COLUMNS = (
    "label", "method", "train", "test", "kind", "epoch", "metric", "mean", "sd", "n", "seeds", "published", "chance",
    "parameters", "embedding_size", "train_seconds",
)  # fmt: skip


class TableColumns(NamedTuple):
    """Columns that belong together: a heading for all, one for each, and a line of cells for each entry."""

    title: str
    heads: list[str]
    lines: list[list[str]]


class Report:
    """The tables and the plot of a matrix of runs, written as often as there is something new.

    Args:
        root: folder of the comparison.
        runs: run folders by entry and seed.
        published: percent by label and test set, instead of the methods' own numbers.
    """

    def __init__(
        self, root: Path, runs: Mapping[Variant, Mapping[int, RunFolder]],
        published: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
    ):  # fmt: skip
        self.root, self.runs, self.published = root, runs, published
        self.failures: list[Failure] = []

    def rows(self) -> list[Row]:
        """Read the entries that have at least one finished run."""
        own = self.published
        rows = [read_row(e, seeds, None if own is None else own.get(e.label, {})) for e, seeds in self.runs.items()]
        return [row for row in rows if row is not None]

    def write_tables(self) -> None:
        """Write table.md and table.csv of all runs that are finished by now."""
        if rows := self.rows():
            write_text(self.root / "table.md", as_markdown(rows, self.failures))
            write_text(self.root / "table.csv", as_csv(rows))

    def finish(self) -> str:
        """Write all files; return the tables as text."""
        rows = self.rows()
        if not rows:
            return "No run has finished: there is nothing to compare."
        from .plot import comparison_plot
        from .side_by_side import write_report_of

        self.write_tables()
        with failing_with_a_warning("The plot"):
            comparison_plot(rows, self.root / "plot.png")
        with failing_with_a_warning("The report"):
            write_report_of(self.runs, self.root / "report.html", self.failures, self.published)
        files = ", ".join(str(self.root / name) for name in ("table.md", "table.csv", "plot.png", "report.html"))
        return f"{as_text(rows, self.failures)}\n\nWritten: {files}"


def as_markdown(rows: Sequence[Row], failures: Sequence[Failure] = ()) -> str:
    """Write one wide table as in the papers, the table of differences, and the notes."""
    tests = [test_block(rows, test, "**{}**".format) for test in tests_of(rows)]
    blocks = [labels_block(rows), *tests, facts_block(rows)]
    heads = [cell for block in blocks for cell in [block.title, *[""] * (len(block.heads) - 1)]]
    second = [head for block in blocks for head in block.heads]
    lines = [sum((block.lines[i] for block in blocks), []) for i in range(len(rows) + 1)]
    parts = ["# Comparison", markdown_table(heads, [second, *lines])]
    if differences := differences_block(rows):
        parts += [f"## {differences.title}", markdown_table(differences.heads, differences.lines)]
    notes = "\n".join(f"- {note}" for note in notes_on(rows, failures))
    return "\n\n".join([*parts, "## Notes", notes]) + "\n"


def as_text(rows: Sequence[Row], failures: Sequence[Failure] = ()) -> str:
    """Write the tables and notes for a terminal, a table a test set, as all beside each other are too wide."""
    labels, facts = labels_block(rows), facts_block(rows)
    tables = [_beside(labels, test_block(rows, test, "*{}".format)) for test in tests_of(rows)]
    tables.append(_beside(labels, facts, len(rows)))
    if differences := differences_block(rows):
        tables.append(f"{differences.title}\n{text_table(differences.heads, differences.lines)}")
    notes = [note.replace("Bold", "Star") for note in notes_on(rows, failures)]
    return "\n\n".join([*tables, "\n".join(notes)])


def as_csv(rows: Sequence[Row]) -> str:
    """Write the long form: a line for each entry, test set, metric, and epoch (last, and best on the first set)."""
    return csv_text([line for row in rows for test in row.any["tests"] for line in csv_lines(row, test)])


def csv_text(lines: Iterable[Mapping[str, Any]]) -> str:
    """Write lines of `csv_lines`."""
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(cell) for name, cell in line.items()} for line in lines)
    return file.getvalue()


def as_cells(lines: Iterable[Sequence[str]]) -> str:
    """Write lines of cells as CSV."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(map(csv_cell, line) for line in lines)
    return file.getvalue()


def csv_lines(row: Row, test: str) -> list[dict[str, Any]]:
    """Return an entry's lines of the long form on one test set, a cell a column of CSV_COLUMNS."""
    scores = row.any["tests"][test]
    shared = {
        "label": row.label, "method": row.method, "train": "+".join(names_in(row.any["train"])), "test": test,
        "kind": scores["kind"],
        "chance": scores["chance_recall_at_1"], "parameters": row.any["parameters"],
        "embedding_size": row.any["embedding_size"], "train_seconds": _mean(row.train_seconds.values()),
    }  # fmt: skip
    lines = []
    for epoch in ("last", "best"):
        for metric in COLUMNS.values():
            if summary := row.summary(test, metric, epoch):
                seeds = " ".join(map(str, row.values(test, metric, epoch)))
                paper = row.published.get(test, {}).get(metric, "")
                lines.append({**shared, **_numbers(summary), "epoch": epoch, "metric": metric, "seeds": seeds,
                              "published": paper})  # fmt: skip
    return lines


def _numbers(summary: Summary) -> dict[str, Any]:
    return {"mean": summary.mean, "sd": "" if summary.sd is None else summary.sd, "n": summary.n}


def labels_block(rows: Sequence[Row]) -> TableColumns:
    """Return the first column."""
    return TableColumns("entry", [""], [*([row.name] for row in rows), ["chance"]])


def test_block(rows: Sequence[Row], test: str, emphasise: Callable[[str], str]) -> TableColumns:
    """Return measured and published numbers on one test set; the best mean of a column is emphasised."""
    columns = columns_of(rows, test)
    summaries = [[row.summary(test, metric) for metric in columns.values()] for row in rows]
    best = [max((s.mean for s in column if s), default=None) for column in zip(*summaries)]
    lines = []
    for row, measured in zip(rows, summaries):
        cells = [_cell(summary, len(rows) > 1 and summary.mean == top, emphasise) if summary else NONE
                 for summary, top in zip(measured, best)]  # fmt: skip
        lines.append([*cells, published_cell(row.published.get(test, {}), columns)])
    chance = [f"{chance_at(rows, test):.2f}", *[NONE] * (len(columns) - 1), NONE]
    return TableColumns(f"{test}, {kind_of(rows, test)}", [*columns, "published"], [*lines, chance])


def _cell(summary: Summary, is_best: bool, emphasise: Callable[[str], str]) -> str:
    return emphasise(str(summary)) if is_best else str(summary)


def published_cell(paper: Mapping[str, float], columns: Mapping[str, str]) -> str:
    """Return the paper's numbers in the order of the columns."""
    numbers = [f"{paper[metric]:.2f}" if metric in paper else NONE for metric in columns.values()]
    while numbers and numbers[-1] == NONE:
        numbers.pop()
    return " / ".join(numbers) or NONE


def facts_block(rows: Sequence[Row]) -> TableColumns:
    """Return seeds, size and cost of each entry."""
    lines = [
        [str(len(row.results)), f"{row.any['parameters']:,}", f"{row.any['embedding_size']:,}",
         duration(_mean(row.train_seconds.values()))]
        for row in rows
    ]  # fmt: skip
    return TableColumns("size and cost", ["seeds", "parameters", "embedding", "training"], [*lines, [NONE] * 4])


def differences_block(rows: Sequence[Row]) -> TableColumns | None:
    """Return R@1 of every two variants of a method, compared seed by seed; None without variants."""
    tests, lines = tests_of(rows), []
    for later, earlier in report_numbers.variant_pairs(rows):
        cells = [_difference(later.values(test, "recall_at_1"), earlier.values(test, "recall_at_1")) for test in tests]
        lines.append([f"{later.label} minus {earlier.label}", *(cell for pair in cells for cell in pair)])
    heads = ["entries", *(head for test in tests for head in (f"{test} R@1", "x standard errors"))]
    return TableColumns("Differences between variants of a method", heads, lines) if lines else None


def _difference(later: Mapping[int, float], earlier: Mapping[int, float]) -> tuple[str, str]:
    difference = paired_difference(later, earlier)
    if difference is None:
        return NONE, NONE
    error = NONE if difference.error is None else f"{difference.error:.2f}"
    times = NONE if difference.times is None else f"{difference.times:+.1f}"
    return f"{difference.mean:+.2f} (error {error})", times


def _mean(values) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def _beside(labels: TableColumns, block: TableColumns, lines: int | None = None) -> str:
    """Put entries and one block beside each other, with the block's title above."""
    cells = [[*label, *line] for label, line in zip(labels.lines, block.lines)]
    return f"{block.title}\n{text_table(['entry', *block.heads], cells[:lines])}"
