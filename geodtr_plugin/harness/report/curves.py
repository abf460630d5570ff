"""Curves of a run: its learning, recall over K, the ranks of its queries, the errors of its headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .charts import Axis, Series, axis_of, bar_chart, line_chart
from .html import Content, Html, folded, table, tag
from .material import Material, RankTable

RANKS = (1, 5, 10, 100, 1000, 10_000, 100_000)  # where bars of ranks end
HEADINGS = (5, 10, 20, 45, 90, 180)  # likewise of errors, in degrees
MOST_POINTS = 40  # of a curve of recalls


def learning_part(material: Material) -> Html:
    """Return losses and R@1 over the epochs, and every epoch as a table."""
    epochs = material.folder.metrics()
    if not epochs:
        return tag("p", "There was no training: these weights were measured as they came.")
    place = Axis("epoch", epochs[0]["epoch"], max(epochs[-1]["epoch"], epochs[0]["epoch"] + 1))
    charts = [line_chart("Training loss over the epochs", *_losses(epochs, place))]
    if any("tests" in epoch for epoch in epochs):
        recalls = _recalls(epochs, material.results["tests"])
        up = Axis("R@1 in %", 0, _percent(max(max(one.y, default=0) for one in recalls)))
        charts.append(line_chart("R@1 on the test sets over the epochs; dotted: chance", recalls, place, up))
    return tag("div", tag("div", charts, class_="charts"), folded("Every epoch", _epochs_table(epochs)))


def _losses(epochs: Sequence[Mapping[str, Any]], x: Axis) -> tuple[list[Series], Axis, Axis]:
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch["losses"]))
    series = []
    for name in names:
        own = [(epoch["epoch"], epoch["losses"][name]) for epoch in epochs if name in epoch["losses"]]
        series.append(Series.of(name.replace("_", " "), own))
    values = [value for one in series for value in one.y]
    positive = min(values) > 0
    return series, x, axis_of("loss", values, log=positive and max(values) > 20 * min(values))


def _recalls(epochs: Sequence[Mapping[str, Any]], tests: Mapping[str, Any]) -> list[Series]:
    series = []
    for name, entry in tests.items():
        own = [(e["epoch"], e["tests"][name]["recall_at_1"]) for e in epochs if name in e.get("tests", {})]
        if own:
            series.append(Series.of(name, own))
            chance = entry["chance_recall_at_1"]
            series.append(Series(name, (epochs[0]["epoch"], epochs[-1]["epoch"] + 1), (chance, chance), level=True))
    return series


def _percent(most: float) -> float:
    """Return where an axis of percent ends: at 100, or lower where all are low."""
    return next((end for end in (5, 10, 20, 50) if most <= 0.9 * end), 100)


def _epochs_table(epochs: Sequence[Mapping[str, Any]]) -> Html:
    names = list(dict.fromkeys(name for epoch in epochs for name in epoch["losses"]))
    others = [n for n in dict.fromkeys(n for e in epochs for n in e) if type(epochs[0].get(n)) is float]
    rows: list[list[Content]] = [
        [epoch["epoch"], *(f"{epoch['losses'].get(name, float('nan')):.4g}" for name in names),
         *(f"{epoch.get(name, float('nan')):.4g}" for name in others)]
        for epoch in epochs
    ]  # fmt: skip
    heads = ["epoch", *(name.replace("_", " ") for name in (*names, *others))]
    return table("Every epoch: losses, learning rate, seconds, pairs a second, share of waiting for data", heads, rows)


def recall_part(material: Material) -> Html:
    """Return recall over K of all test sets, and how often each rank came about."""
    tables = {name: material.ranks(name) for name in material.results["tests"]}
    lines = [
        line for name, ranks in tables.items()
        for line in recall_series(name, ranks, material.results["tests"][name])
    ]  # fmt: skip
    sizes = [max(one.x) for one in lines]
    recall = line_chart(
        "Recall over K: how often a right reference is among the first K; dotted: chance", lines,
        Axis("K references (logarithmic)", 1, max(*sizes, 2), log=True), Axis("R@K in %", 0, 100),
    )  # fmt: skip
    bars = [
        bar_chart(f"Ranks of {name}", count_ranks(ranks), "rank of the right reference", "queries")
        for name, ranks in tables.items()
    ]
    return tag("div", recall, bars, class_="charts")


def recall_series(name: str, ranks: RankTable, entry: Mapping[str, Any]) -> list[Series]:
    """Return recall over K in percent, and that of a random ranking, exact where a query has one right reference."""
    size = max(int(entry["last"].get("num_references", ranks.rank[np.isfinite(ranks.rank)].max(initial=1))), 2)
    ks = np.unique(np.geomspace(1, size, MOST_POINTS).round().astype(int)).tolist()
    recalls = [100 * float(np.mean(ranks.rank <= k)) if len(ranks.rank) else 0.0 for k in ks]
    chance = [min(100.0, entry["chance_recall_at_1"] * k) for k in ks]
    return [Series(name, ks, recalls), Series(name, ks, chance, level=True)]


def count_ranks(ranks: RankTable) -> list[tuple[str, float]]:
    """Return how many queries have a rank of each range, and none."""
    finite = ranks.rank[np.isfinite(ranks.rank)]
    ends = [end for end in RANKS if end == 1 or end < finite.max(initial=1)]
    ends += [end for end in RANKS if end >= finite.max(initial=1) and end not in ends][:1]
    bars = [
        (_range(low + 1, high), float(np.sum((finite > low) & (finite <= high)))) for low, high in zip([0, *ends], ends)
    ]
    none = len(ranks.rank) - len(finite)
    return [*bars, ("none", float(none))] if none else bars


def _range(low: int, high: int) -> str:
    def short(n: int) -> str:
        return f"{n // 1000}k" if n >= 1000 else str(n)

    return short(high) if low == high else f"{short(low)}–{short(high)}"


def heading_part(material: Material) -> Html | None:
    """Return by how much headings were missed; None where none were told."""
    charts = []
    for name in material.results["tests"]:
        errors = material.ranks(name).heading_errors
        if errors is not None:
            errors = errors[np.isfinite(errors)]
            bars = [(f"{low}–{high}", float(np.sum((errors >= low) & ((errors < high) | (high == HEADINGS[-1])))))
                    for low, high in zip((0, *HEADINGS), HEADINGS)]  # fmt: skip
            charts.append(bar_chart(f"Errors of the headings of {name}", bars, "error in degrees", "queries"))
    return tag("div", charts, class_="charts") if charts else None
