"""The picture of a comparison: how well each entry does where it was trained, and elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.figures import new_figure, save_figure
from .statistics import Row, Summary, chance_at, kind_of, summarise, tests_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("same area", "cross area")
MARKERS = "os^DvP*X<>hp"  # by variant of a method
MARKER: dict[str, Any] = {"markersize": 9, "linestyle": "none", "markeredgecolor": "white"}
BARS: dict[str, Any] = {"elinewidth": 1.2, "capsize": 2.5, "fmt": "none"}
CHANCE: dict[str, Any] = {"color": "0.55", "linestyle": ":", "linewidth": 1.2, "zorder": 0}


def comparison_plot(rows: Sequence[Row], file: Path) -> None:
    """Draw R@1 in the same area against R@1 across areas, an entry a point with its deviation over seeds, as a PNG.

    Several test sets of a kind are averaged. Where all test sets are of one kind, entries stand below each other.
    """
    tests = {kind: [test for test in tests_of(rows) if kind in kind_of(rows, test)] for kind in KINDS}
    measured = [kind for kind in KINDS if tests[kind]]
    longest = 0.075 * max(len(row.name) for row in rows)  # inches
    figure = new_figure(6.8 + longest, 5.8 if len(measured) > 1 else 1.3 + 0.4 * len(rows))
    axes = figure.subplots()
    if len(measured) > 1:
        _against(axes, rows, tests)
    else:
        _below(axes, rows, measured[0], tests[measured[0]])
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, file, dpi=130)


def mean_recall(row: Row, tests: Sequence[str]) -> Summary | None:
    """Average R@1 over seeds of the mean of some test sets; None where one of them was not measured."""
    by_test = [row.values(test, "recall_at_1") for test in tests]
    seeds = [seed for seed in by_test[0] if all(seed in values for values in by_test)]
    return summarise(sum(values[seed] for values in by_test) / len(tests) for seed in seeds) if seeds else None


def looks(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Choose colour and marker of every entry: a method keeps its colour, its variants differ by marker."""
    methods = list(dict.fromkeys(row.method for row in rows))
    before = [[other.method for other in rows[:place]].count(row.method) for place, row in enumerate(rows)]
    return [
        {"color": f"C{methods.index(row.method) % 10}", "marker": MARKERS[variant % len(MARKERS)]}
        for row, variant in zip(rows, before)
    ]


def _against(axes: Axes, rows: Sequence[Row], tests: dict[str, list[str]]) -> None:
    """Draw one kind of test set against the other; the names stand beside, in the order of the heights."""
    drawn: list[tuple[float, Any]] = []
    for row, look in zip(rows, looks(rows)):
        across, up = (mean_recall(row, tests[kind]) for kind in KINDS)
        if across and up:
            axes.errorbar(across.mean, up.mean, xerr=across.sd, yerr=up.sd, ecolor=look["color"], **BARS)
            (point,) = axes.plot(across.mean, up.mean, label=row.name, **look, **MARKER)
            drawn.append((up.mean, point))
    axes.set(xlabel=_name(KINDS[0], tests[KINDS[0]]), ylabel=_name(KINDS[1], tests[KINDS[1]]))
    chances = [_chance(rows, tests[kind]) for kind in KINDS]
    axes.axvline(chances[0], **CHANCE)
    axes.axhline(chances[1], **CHANCE)
    _say_chance(axes, f"{chances[0]:.2f} % (vertical) and {chances[1]:.2f} % (horizontal)")
    # a little below nothing, so that chance is seen even where all do much better
    axes.set(xlim=(-0.02 * axes.get_xlim()[1], None), ylim=(-0.02 * axes.get_ylim()[1], None))
    points = [point for _, point in sorted(drawn, key=lambda pair: -pair[0])]
    axes.figure.legend(handles=points, loc="outside right upper", frameon=False, fontsize=9, labelspacing=0.8)


def _below(axes: Axes, rows: Sequence[Row], kind: str, tests: Sequence[str]) -> None:
    """Draw entries below each other, for a comparison with one kind of test set."""
    for height, (row, look) in enumerate(zip(rows, looks(rows))):
        if recall := mean_recall(row, tests):
            axes.errorbar(recall.mean, height, xerr=recall.sd, ecolor=look["color"], **BARS)
            axes.plot(recall.mean, height, **look, **MARKER)
    axes.set(xlabel=_name(kind, tests), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_xlim(-0.02 * axes.get_xlim()[1], None)
    axes.axvline(_chance(rows, tests), **CHANCE)
    _say_chance(axes, f"{_chance(rows, tests):.2f} %")


def _name(kind: str, tests: Sequence[str]) -> str:
    return f"R@1 in %, {kind}: {'mean of ' if len(tests) > 1 else ''}{', '.join(tests)}"


def _chance(rows: Sequence[Row], tests: Sequence[str]) -> float:
    return sum(chance_at(rows, test) for test in tests) / len(tests)


def _say_chance(axes: Axes, numbers: str) -> None:
    axes.set_title(f"dotted: chance, {numbers}", fontsize=8.5, color="0.35", loc="right")
