"""Figures 1, 9 and 10: methods in the same and in another area, losses in training, distances of turned pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.report.charts import COLOURS
from ...harness.report.inside import measure_distances
from ...utils.errors import UserError
from ...utils.figures import new_figure, save_figure
from ..jobs import Variant
from ..plot import BARS, MARKERS
from .looking import looking
from .parts import Part
from .runs import Workshop
from .table import Block, blocks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 130
PAIRS = 200  # of a test set, whose distances are measured at most


def draw_methods(shop: Workshop, part: Part) -> list[Path]:
    """Draw R@1 in the same area against R@1 in another, a panel a training set; the paper's as rings."""
    entries = part.entries(shop, part)
    blocks = blocks_of(shop, part.columns, entries, part.seeds)
    trained = list(dict.fromkeys(block.column[0] for block in blocks))
    figure = new_figure(2.6 + 4.2 * len(trained), 5.2)
    panels = figure.subplots(1, len(trained), squeeze=False)[0]
    looks = {
        entry.variant.label: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, entry in enumerate(entries)
    }
    points: dict[str, Any] = {}
    for axes, name in zip(panels, trained):
        same, cross = (next(b for b in blocks if b.column[0] == name and (b.column[1] == name) is own)
                       for own in (True, False))  # fmt: skip
        for entry in entries:
            label = entry.variant.label
            found = _measured(axes, label, same, cross, looks[label])
            ring = _published(axes, [entry.published.get(b.column, {}) for b in (cross, same)], looks[label])
            if (point := found or ring) is not None:
                points.setdefault(label, point)
        axes.set(xlabel=f"R@1 in %, another area: {cross.made[1]}", ylabel=f"R@1 in %, same area: {same.made[1]}")
        axes.set_title(f"trained on {same.made[0]}", fontsize=10)
        _plain(axes)
    if not points:
        raise UserError("No method has both numbers.", "Make table1 and table2, whose runs these are.")
    figure.legend(points.values(), points.keys(), loc="outside right upper", frameon=False, fontsize=8.5)
    paper = "" if shop.sets.real else " of CVUSA and CVACT, which the worlds stand in for"
    figure.suptitle(f"Filled: measured. Hollow: published{paper}.", fontsize=9, color="0.3", x=0.01, ha="left")
    return _saved(figure, shop, part)


def _measured(axes: Axes, label: str, same: Block, cross: Block, look: dict[str, Any]) -> Any:
    if label not in same.rows or label not in cross.rows:
        return None
    across, up = (block.rows[label].summary(block.made[1], "recall_at_1") for block in (cross, same))
    if across is None or up is None:
        return None
    axes.errorbar(across.mean, up.mean, xerr=across.sd, yerr=up.sd, ecolor=look["color"], **BARS)
    return axes.plot(across.mean, up.mean, linestyle="none", markersize=8, markeredgecolor="white", **look)[0]


def _published(axes: Axes, cells: Sequence[Any], look: dict[str, Any]) -> Any:
    if not all("recall_at_1" in cell for cell in cells):
        return None
    x, y = (cell["recall_at_1"] for cell in cells)
    return axes.plot(x, y, linestyle="none", markersize=8, markerfacecolor="none", alpha=0.75, **look)[0]


def draw_losses(shop: Workshop, part: Part) -> list[Path]:
    """Draw the loss of pairs over the epochs, a line a variant; a band is the deviation over seeds."""
    column = shop.sets.of(part.columns[0])
    assert column is not None
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    for i, entry in enumerate(part.entries(shop, part)):
        curves = [[epoch["losses"]["metric_loss"] for epoch in folder.metrics()]
                  for folder in shop.finished(column[0], entry.variant)]  # fmt: skip
        mean, spread = np.mean(curves, axis=0), np.std(curves, axis=0)
        x, colour, style = range(1, len(mean) + 1), COLOURS[i % len(COLOURS)], ("-", "--", ":", "-.")[i % 4]
        axes.plot(x, mean, style, color=colour, label=_plain_name(entry.variant), marker=".")
        axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel="loss of pairs, mean of the epoch", ylim=(0, None),
             title=f"{shop.method} trained on {column[0]}")  # fmt: skip
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    _plain(axes)
    return _saved(figure, shop, part)


def _plain_name(variant: Variant) -> str:
    """Return what the paper calls a variant of Table VI."""
    words = dict(word.removeprefix("--").split("=", 1) for word in variant.words if "=" in word)
    name = {"raw": "raw data", "ls": "LS", "l+s": "CHSG"}.get(words.get("chsg", ""), variant.label)
    return f"{name}, batch {words['batch-size']}" if "batch-size" in words else name


def draw_distances(shop: Workshop, part: Part) -> list[Path]:
    """Draw distances of pairs as they are, flipped, turned and unmatched: a column a variant, a row a test set."""
    made = [column for column in map(shop.sets.of, shop.sets.present(part.columns)) if column is not None]
    entries = part.entries(shop, part)
    figure = new_figure(1.6 + 4.4 * len(entries), 0.6 + 2.9 * len(made))
    panels = figure.subplots(len(made), len(entries), squeeze=False, sharex=True, sharey=True)
    for column, entry in enumerate(entries):
        for row, pair in enumerate(made):
            with looking(shop, pair, entry.variant) as look:
                found = measure_distances(look.network, look.split, most=PAIRS)
            if found is None:
                raise UserError(f"The tiles of {pair[1]} are no squares, which could be turned.")
            _violins(panels[row, column], found)
            count = len(next(iter(found.values())))
            panels[row, column].set_title(f"{_plain_name(entry.variant)}: {pair[1]}, {count} pairs", fontsize=10)
    for axes in panels[-1]:
        axes.set_xlabel("distance (0: alike, 2: opposite)")
    figure.suptitle(f"{shop.method} trained on {made[0][0]}; bars: the middle half, lines: the median", fontsize=10)
    return _saved(figure, shop, part)


def _violins(axes: Axes, found: dict[str, np.ndarray]) -> None:
    """Draw how distances of each kind spread, with quartiles and median, the first kind on top."""
    kinds = {name: values for name, values in found.items() if len(values) > 1}
    heights = np.arange(len(kinds))[::-1]
    bodies = axes.violinplot(list(kinds.values()), heights, orientation="horizontal", widths=0.85, showextrema=False)
    for i, body in enumerate(bodies["bodies"]):
        body.set(facecolor=COLOURS[i % len(COLOURS)], alpha=0.45, edgecolor="none")
    for height, values in zip(heights, kinds.values()):
        low, middle, high = np.percentile(values, (25, 50, 75))
        axes.plot([low, high], [height, height], color="0.25", linewidth=4, solid_capstyle="butt")
        axes.plot([middle, middle], [height - 0.3, height + 0.3], color="black", linewidth=1.4)
    axes.set_yticks(heights, list(kinds))
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def _saved(figure: Any, shop: Workshop, part: Part) -> list[Path]:
    file = shop.root / f"{part.name}.png"
    save_figure(figure, file, DPI)
    return [file]
