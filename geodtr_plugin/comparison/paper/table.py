"""A table of the paper: what was measured, column by column, with the paper's numbers beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...harness.results import COLUMNS
from ...utils.files import write_text
from ...utils.tables import markdown_table
from ..notes import failure_notes, notes_on
from ..report import NONE, csv_lines, csv_text, differences_block, published_cell, test_block
from ..statistics import Row
from .entries import Entry
from .runs import Workshop
from .sets import Column


@dataclass
class Block:
    """The cells of a training set and a test set.

    Args:
        column: the paper's.
        made: training set and test set that were taken.
        rows: what was measured, by label of the line.
    """

    column: Column
    made: Column
    rows: dict[str, Row]


def write_table(
    shop: Workshop, name: str, title: str, columns: Sequence[Column], entries: Sequence[Entry], seeds: int
) -> list[Path]:
    """Write a table as Markdown and as CSV from the runs that are done; return the files."""
    blocks = blocks_of(shop, columns, entries, seeds)
    text, lines = table_text(shop, title, entries, blocks), lines_of(entries, blocks)
    files = [shop.root / f"{name}.md", shop.root / f"{name}.csv"]
    for file, content in zip(files, (text, csv_text(lines))):
        write_text(file, content)
    return files


def blocks_of(shop: Workshop, columns: Sequence[Column], entries: Sequence[Entry], seeds: int) -> list[Block]:
    """Return the columns that something can be said of: whose sets are there, or of which the paper has numbers."""
    blocks = []
    for column in columns:
        made = shop.sets.of(column)
        if made is not None:
            rows = {entry.variant.label: shop.row(column, entry, seeds) for entry in entries}
            blocks.append(Block(column, made, {label: row for label, row in rows.items() if row is not None}))
    return blocks


def table_text(shop: Workshop, title: str, entries: Sequence[Entry], blocks: Sequence[Block]) -> str:
    """Return the whole page: the table, the differences between variants, the notes."""
    names = [_name(entry, blocks) for entry in entries]
    heads, second = ["entry"], [""]
    lines = [[name] for name in [*names, "chance"]]
    for block in blocks:
        titles, cells = _cells(entries, block)
        heads += [_over(block), *[""] * (len(titles) - 1)]
        second += titles
        lines = [[*line, *more] for line, more in zip(lines, cells)]
    parts = [f"# {title}", markdown_table(heads, [second, *lines])]
    for trained, rows in _by_training(blocks).items():
        if differences := differences_block(rows):
            parts += [f"## {differences.title}, trained on {trained}",
                      markdown_table(differences.heads, differences.lines)]  # fmt: skip
    return "\n\n".join([*parts, "## Notes", "\n".join(f"- {note}" for note in _notes(shop, blocks))]) + "\n"


def _name(entry: Entry, blocks: Sequence[Block]) -> str:
    label = entry.variant.label
    return next((block.rows[label].name for block in blocks if label in block.rows), label)


def _over(block: Block) -> str:
    """Return the heading over a block: what was trained and tested on, and what of the paper stands beside it."""
    trained, test = block.made
    return test if trained == test else f"{trained} → {test}"


def _cells(entries: Sequence[Entry], block: Block) -> tuple[list[str], list[list[str]]]:
    """Return a block's headings, and its cells by line; the last line is chance."""
    test, rows = block.made[1], list(block.rows.values())
    paper = "published" if block.column == block.made else f"published, {' → '.join(dict.fromkeys(block.column))}"
    if not rows:
        known = set().union(*(entry.published.get(block.column, {}) for entry in entries))
        heads = {head: metric for head, metric in COLUMNS.items() if metric in known}
        lines = [[*[NONE] * len(heads), published_cell(e.published.get(block.column, {}), heads)] for e in entries]
        return [*heads, paper], [*lines, [NONE] * (len(heads) + 1)]
    measured = test_block(rows, test, "**{}**".format)
    heads = {head: COLUMNS[head] for head in measured.heads[:-1]}
    by_label = dict(zip(block.rows, measured.lines))
    lines = [
        by_label.get(e.variant.label, [*[NONE] * len(heads), published_cell(e.published.get(block.column, {}), heads)])
        for e in entries
    ]  # fmt: skip
    return [*heads, paper], [*lines, measured.lines[-1]]


def _by_training(blocks: Sequence[Block]) -> dict[str, list[Row]]:
    """Return the rows of each training set, each once."""
    rows: dict[str, dict[str, Row]] = {}
    for block in blocks:
        rows.setdefault(block.made[0], {}).update(block.rows)
    return {trained: list(own.values()) for trained, own in rows.items() if own}


def _notes(shop: Workshop, blocks: Sequence[Block]) -> list[str]:
    """Return what a reader must know: what failed or is not there, what stands for what, and how it was measured."""
    notes = []
    if not shop.sets.real:
        notes.append(
            "Synthetic worlds stand in for the paper's data sets. The published numbers are those of the paper's sets "
            "and sizes, for comparison of what is better than what, not of the numbers."
        )
    notes += [missing for block in blocks if (missing := shop.sets.missing(block.column))]
    for trained in dict.fromkeys(block.made[0] for block in blocks):
        notes += [f"{note} (trained on {trained})" for note in failure_notes(shop.failures.get(trained, []))]
    for rows in _by_training(blocks).values():
        notes += notes_on(rows, [])
    if shop.shared:
        notes.append(f"Options of all runs: {' '.join(shop.shared)}")
    return list(dict.fromkeys(notes))


def lines_of(entries: Sequence[Entry], blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return the lines of the CSV file; a line that only the paper has stands there without measured numbers."""
    lines: list[dict[str, Any]] = []
    for block in blocks:
        for entry in entries:
            label, (trained, test) = entry.variant.label, block.made
            if label in block.rows:
                lines += csv_lines(block.rows[label], test)
                continue
            lines += [
                {"label": label, "method": entry.variant.method, "train": trained, "test": test, "metric": metric,
                 "published": value}
                for metric, value in entry.published.get(block.column, {}).items()
            ]  # fmt: skip
    return lines
