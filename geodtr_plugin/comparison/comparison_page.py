"""The page about several runs: tables, paired differences and curves, an entry beside the other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..harness.report import NAME, guarded_part
from ..harness.report.charts import Axis, Series, line_chart, range_chart
from ..harness.report.curves import recall_series
from ..harness.report.html import Content, Html, bullets, number, page, table, tag
from ..harness.report.material import RankTable, read_ranks, title_of
from ..harness.run_folder import RunFolder
from ..utils.tables import duration
from .jobs import Failure
from .notes import notes_on
from .paired_queries import compare_hits
from .statistics import Row, chance_at, columns_of, kind_of, paired_difference, tests_of

Runs = Mapping[int, RunFolder]  # by seed


@dataclass(frozen=True)
class Entry:
    """A row of a comparison with the folders of its finished runs by seed."""

    row: Row
    runs: Runs

    def ranks(self, test: str, seed: int) -> RankTable:
        """Return what became of the queries of a test set; DamagedFileError if that cannot be read."""
        return read_ranks(self.runs[seed].ranks(test))


def comparison_page(title: str, entries: Sequence[Entry], failures: Sequence[Failure], folder: Path) -> str:
    """Return the page; what cannot be drawn is left out with a word.

    Args:
        title: heading.
        entries: at least one.
        failures: what went wrong.
        folder: where the page is to lie, for its links to the reports of the runs.
    """
    rows = [entry.row for entry in entries]
    parts = {
        "Numbers": lambda: numbers_part(rows),
        "Differences": lambda: differences_part(entries),
        "Recall over K": lambda: recall_part(entries),
        "Learning": lambda: learning_part(entries),
        "Size and time": lambda: size_part(rows),
        "Notes": lambda: bullets(notes_on(rows, failures)),
        "The runs": lambda: runs_part(entries, folder),
    }
    sections = [(name, content) for name, draw in parts.items() if (content := guarded_part(name, draw)) is not None]
    return page(title, None, sections)


def numbers_part(rows: Sequence[Row]) -> Html:
    """Return a table and a chart of R@1 for each test set."""
    return tag("div", [[_numbers_table(rows, test), tag("div", _recall_chart(rows, test), class_="charts")]
                       for test in tests_of(rows)])  # fmt: skip


def _numbers_table(rows: Sequence[Row], test: str) -> Html:
    columns = columns_of(rows, test)
    best = {m: max((s.mean for row in rows if (s := row.summary(test, m))), default=None) for m in columns.values()}
    lines: list[list[Content]] = []
    for row in rows:
        cells: list[Content] = []
        for metric in columns.values():
            found = row.summary(test, metric)
            cell = number(found.mean, str(found), row.label, test, metric) if found else "-"
            cells.append(tag("strong", cell) if found and found.mean == best[metric] and len(rows) > 1 else cell)
        paper = row.published.get(test, {}).get("recall_at_1")
        lines.append([row.name, *cells, "-" if paper is None else f"{paper:.2f}"])
    lines.append(["chance", f"{chance_at(rows, test):.2f}", *["-"] * len(columns)])
    return table(f"{test}, {kind_of(rows, test)}, in percent", ["entry", *columns, "published R@1"], lines)


def _recall_chart(rows: Sequence[Row], test: str) -> Html:
    """Return R@1 with its deviation over seeds, or of one seed with the interval of the choice of queries."""
    drawn, several = [], any(len(row.results) > 1 for row in rows)
    for row in rows:
        if found := row.summary(test, "recall_at_1"):
            low, high = (row.summary(test, f"recall_at_1_{end}") for end in ("low", "high"))
            ends = (found.mean - (found.sd or 0), found.mean + (found.sd or 0))
            if not several and low and high:
                ends = low.mean, high.mean
            drawn.append((row.label, [ends[0], ends[0], found.mean, ends[1], ends[1]]))
    most = max(values[4] for _, values in drawn)
    what = "deviation over seeds" if several else "95 % interval of the choice of queries"
    axis = Axis("R@1 in %", 0, max(most * 1.05, 1))
    return range_chart(f"R@1 on {test}; bar: {what}", drawn, axis)


def differences_part(entries: Sequence[Entry]) -> Html | None:
    """Return each entry against the first: query by query for each seed, and over the seeds."""
    first, *others = entries
    if not others:
        return None
    words = (
        f"Each entry minus {first.row.label}, in points of R@1, on the same queries, matched by their ids. p is that "
        "of the exact McNemar test on hits; the interval, of 95 %, is Clopper and Pearson's, given the queries that "
        "one of the two found alone. Neither knows of other seeds, nor that several differences are looked at."
    )
    tests = tests_of([entry.row for entry in entries])
    heads = ["entry", "test set", "seed", "queries", "both", f"only {first.row.label}", "only entry"]
    heads += ["difference", "interval", "p"]
    lines = [line for other in others for test in tests for line in _query_lines(first, other, test)]
    over = [[other.row.label, test, *_over_seeds(first.row, other.row, test)] for other in others for test in tests]
    tables = [table("Query by query", heads, lines, text_columns=2)]
    if any(len(entry.runs) > 1 for entry in entries):
        seeds = ["entry", "test set", "seeds", "mean difference", "standard error", "in standard errors"]
        tables.append(table("Over the seeds", seeds, over, text_columns=2))
    return tag("div", tag("p", words), tables)


def _query_lines(first: Entry, other: Entry, test: str) -> list[list[Content]]:
    """Return a line for each seed that both have; of runs without a common seed, one."""
    mine, theirs = ([s for s, found in e.row.results.items() if test in found["tests"]] for e in (first, other))
    shared = [(seed, seed) for seed in mine if seed in theirs] or list(zip(mine, theirs))[:1]
    return [_query_line(first, other, test, *seeds) for seeds in shared]


def _query_line(first: Entry, other: Entry, test: str, seed: int, other_seed: int) -> list[Content]:
    head: list[Content] = [other.row.label, test, f"{other_seed}" if seed == other_seed else f"{other_seed} and {seed}"]
    hits = compare_hits(first.ranks(test, seed), other.ranks(test, other_seed))
    if hits is None:
        return [*head, "0", *["-"] * 6]
    ends = hits.interval
    interval = "-" if ends is None else f"{ends[0]:+.2f} to {ends[1]:+.2f}"
    counts = (f"{count:,}" for count in (hits.queries, hits.both, hits.only_first, hits.only_second))
    key = "difference", first.row.label, other.row.label, test, str(seed)
    p = "< 0.0001" if hits.p_value < 1e-4 else f"{hits.p_value:.4f}"
    return [*head, *counts, number(hits.difference, f"{hits.difference:+.2f}", *key), interval, p]


def _over_seeds(first: Row, other: Row, test: str) -> list[str]:
    found = paired_difference(other.values(test, "recall_at_1"), first.values(test, "recall_at_1"))
    if found is None:
        return ["0", "-", "-", "-"]
    error = "-" if found.error is None else f"{found.error:.2f}"
    return [f"{found.n}", f"{found.mean:+.2f}", error, "-" if found.times is None else f"{found.times:+.1f}"]


def recall_part(entries: Sequence[Entry]) -> Html:
    """Return recall over K on each test set, a line an entry, of its first seed."""
    charts = []
    for test in tests_of([entry.row for entry in entries]):
        lines: list[Series] = []
        for entry in entries:
            seed = next((s for s, result in entry.row.results.items() if test in result["tests"]), None)
            if seed is not None:
                own, chance = recall_series(
                    entry.row.label, entry.ranks(test, seed), entry.row.results[seed]["tests"][test]
                )
                lines += [own] if lines else [Series("chance", chance.x, chance.y, level=True), own]
        axis = Axis("K references (logarithmic)", 1, max(max(one.x) for one in lines), log=True)
        charts.append(line_chart(f"Recall over K on {test}; dotted: chance", lines, axis, Axis("R@K in %", 0, 100)))
    return tag("div", charts, class_="charts")


def learning_part(entries: Sequence[Entry]) -> Html | None:
    """Return R@1 over the epochs on each test set, a line an entry, of its first seed; None without trainings."""
    charts = []
    for test in tests_of([entry.row for entry in entries]):
        lines = []
        for entry in entries:
            epochs = entry.runs[next(iter(entry.row.results))].metrics()
            own = [(e["epoch"], e["tests"][test]["recall_at_1"]) for e in epochs if test in e.get("tests", {})]
            if len(own) > 1:
                lines.append(Series.of(entry.row.label, own))
        if lines:
            x = Axis("epoch", 1, max(max(one.x) for one in lines))
            y = Axis("R@1 in %", 0, max(max(max(one.y) for one in lines) * 1.05, 1))
            charts.append(line_chart(f"R@1 on {test} over the epochs", lines, x, y))
    return tag("div", charts, class_="charts") if charts else None


def size_part(rows: Sequence[Row]) -> Html:
    """Return what each entry is and costs."""
    heads = ["entry", "run", "seeds", "parameters", "embedding", "training"]
    lines = [
        [row.name, title_of(row.any), ", ".join(map(str, row.results)), f"{row.any['parameters']:,}",
         f"{row.any['embedding_size']:,}", duration(sum(row.train_seconds.values()) / max(len(row.train_seconds), 1))]
        for row in rows
    ]  # fmt: skip
    return table("Training: time in training steps, the mean of the seeds", heads, lines, text_columns=2)


def runs_part(entries: Sequence[Entry], folder: Path) -> Html:
    """Return the folders of the runs, with links to their own reports where these are there."""
    items: list[Content] = []
    for entry in entries:
        for seed in entry.row.results:
            path = entry.runs[seed].path
            name: Content = str(path)
            if (path / NAME).is_file():
                name = tag("a", name, href=_link(path / NAME, folder))
            items.append([f"{entry.row.label}, seed {seed}: ", name])
    return bullets(items)


def _link(file: Path, folder: Path) -> str:
    from urllib.parse import quote

    return quote(Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix())
