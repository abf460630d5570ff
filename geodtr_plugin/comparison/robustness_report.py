"""What is reported on robustness: means, best and worst, a table for each group of conditions, and the curves."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..augmentations.corruptions import CORRUPTIONS
from ..harness.report.charts import COLOURS, GREY
from ..utils.figures import failing_with_a_warning, new_figure, save_figure
from ..utils.files import write_json, write_text
from ..utils.tables import markdown_table, text_table
from .conditions import C_ALL, GROUPS, PUBLISHED, Condition, conditions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .robustness import Measured

NONE = "-"
STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))  # lines differ by more than colour
MARKERS = "os^DvP*"
LESS = ("fov", "scale")  # groups whose smaller levels are harder
TITLES = {
    "noise": "noise", "blur": "blur", "weather": "weather", "digital": "digital", C_ALL: "C-ALL",
    "fov": "field of view", "shift": "tile off centre", "tilt": "camera tilted", "scale": "tile cropped",
    "look": "the same places at another time",
}  # fmt: skip


def write_report(models: Sequence[Measured], folder: Path) -> str:
    """Write robustness.md and .png of models, of several robustness.json too, and return the text of the means.

    Args:
        models: measured on one test set.
        folder: where to write.
    """
    stem = models[0].file.stem if len(models) == 1 else "robustness"
    known = _known(models)
    if len(models) > 1:
        content = {model.label: model.content["tests"][model.test] for model in models}
        write_json(folder / f"{stem}.json", {"test": models[0].test, "models": content})
    heads, lines = _means(models, known)
    extremes = _extremes(models, known)
    parts = [f"# Robustness on {models[0].test}", _rules(models), markdown_table(heads, lines), *extremes]
    for group in GROUPS:
        if rows := [one for one in known if one.group == group]:
            parts += [f"## {TITLES[group]}{_unit(rows)}", markdown_table(*_group(models, rows))]
    write_text(folder / f"{stem}.md", "\n\n".join(parts) + "\n")
    with failing_with_a_warning("The curves"):
        robustness_plot(models, known, folder / f"{stem}.png")
    return "\n\n".join([_rules(models), text_table(heads, lines), *extremes, f"Written: {folder / stem}.md and .png"])


def recall(model: Measured, key: str) -> float | None:
    """Return R@1 of a model under a condition, in percent; None where it was not measured."""
    scores = model.numbers.get(key)
    return None if scores is None else scores["recall_at_1"]


def mean_of(model: Measured, some: Iterable[Condition]) -> float | None:
    """Return the mean R@1 of a model over conditions, all of which must have been measured."""
    values = [recall(model, condition.key) for condition in some]
    measured = [value for value in values if value is not None]
    return statistics.fmean(measured) if measured and len(measured) == len(values) else None


def _known(models: Sequence[Measured]) -> list[Condition]:
    """Return the conditions that at least one model was measured under, in their order."""
    keys = set().union(*(model.numbers for model in models))
    return [one for one in conditions(GROUPS, at_look=_no_look) if one.key in keys]


def _no_look(look: str) -> Any:
    raise AssertionError("reports load no data")


def _by_kind(known: Iterable[Condition]) -> dict[str, list[Condition]]:
    """Return the conditions of each kind, under its name; snow and fog are names of corruptions and of looks."""
    kinds: dict[str, list[Condition]] = {}
    for one in known:
        name = TITLES[C_ALL] if one.group == C_ALL else ("look: " * (one.group == "look") + one.name).replace("_", " ")
        kinds.setdefault(name, []).append(one)
    return kinds


def _means(models: Sequence[Measured], known: Sequence[Condition]) -> tuple[list[str], list[list[str]]]:
    """Return the table of means: plain, each group, all corruptions, and what an evaluation took."""
    lines = [["plain", *(_cell(recall(model, "plain")) for model in models)]]
    corruptions = [one for one in known if one.group in CORRUPTIONS]
    rows = {TITLES[group]: [one for one in corruptions if one.group == group] for group in CORRUPTIONS}
    rows |= {"all corruptions": corruptions, **_by_kind(one for one in known if one.group not in CORRUPTIONS)}
    lines += [[name, *(_cell(mean_of(model, some)) for model in models)] for name, some in rows.items() if some]
    for label, keys in (("seconds, plain: both roles", ["plain"]), ("seconds, mean of others", [c.key for c in known])):
        lines.append([label, *(_seconds(model, keys) for model in models)])
    return ["R@1 in %", *(model.label for model in models)], lines


def _rules(models: Sequence[Measured]) -> str:
    data = models[0].content["tests"][models[0].test]
    chance, queries = data["chance_recall_at_1"], data["data"]["queries"]
    what = f"{queries:,} queries of {models[0].test}; means over the kinds and levels that were measured"
    lines = [f"{what}; chance is {chance:.2f}."]
    if (published := PUBLISHED.get(models[0].test)) is not None:
        lines.append(f"Published on C-ALL, drawn by its makers: GeoDTR, trained on the same set, {published:.1f}.")
    return " ".join(lines)


def _extremes(models: Sequence[Measured], known: Sequence[Condition]) -> list[str]:
    """Return a sentence for each model: under which kinds it does best and worst."""
    sentences = []
    for model in models:
        every = {name: mean_of(model, some) for name, some in _by_kind(known).items()}
        means = {name: value for name, value in every.items() if value is not None}
        if len(means) > 1:
            ordered = sorted(means, key=lambda name: -means[name])
            some = ordered[:3], ordered[:-4:-1]
            best, worst = (", ".join(f"{name} {means[name]:.1f}" for name in names) for names in some)
            sentences.append(f"{model.label}: best {best}; worst {worst}.")
    return sentences


def _group(models: Sequence[Measured], rows: Sequence[Condition]) -> tuple[list[str], list[list[str]]]:
    """Return the table of a group: a line for each kind and model, a column for each level."""
    levels = _levels(rows)
    lines = []
    for name, own in _by_kind(rows).items():
        by_level = {one.level: one for one in own}
        for model in models:
            values = [_cell(recall(model, by_level[level].key)) if level in by_level else NONE for level in levels]
            several = [_cell(mean_of(model, own))] if len(levels) > 1 else []
            lines.append([name, model.label, *values, *several])
    several = ["mean"] if len(levels) > 1 else []
    return ["", "model", *(f"{level:g}" if level else "R@1" for level in levels), *several], lines


def _levels(some: Sequence[Condition]) -> list[float]:
    """Return the levels of a group, the mildest first: what is left of a panorama or a tile becomes less."""
    return sorted({one.level for one in some}, reverse=some[0].group in LESS)


def _unit(rows: Sequence[Condition]) -> str:
    return f", {rows[0].unit}" if rows[0].unit else ""


def _cell(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def _seconds(model: Measured, keys: Sequence[str]) -> str:
    values = [model.numbers[key]["seconds"] for key in keys if key in model.numbers]
    return f"{statistics.fmean(values):.1f}" if values else NONE


def robustness_plot(models: Sequence[Measured], known: Sequence[Condition], file: Path) -> None:
    """Draw R@1 over the level, a panel a group, as a PNG: a line for each kind, or for each of several models."""
    groups = [group for group in GROUPS if group != C_ALL and any(one.group == group for one in known)]
    if not groups:
        return
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = new_figure(4.3 * columns, 3.1 * rows + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, group in zip(panels, groups):
        some = [one for one in known if one.group == group]
        (_bars if group == "look" else _curves)(axes, models, some)
        axes.set_title(TITLES[group], fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    who = f", {models[0].label}" if len(models) == 1 else ""
    figure.suptitle(f"R@1 on {models[0].test}{who} (dotted: plain)", fontsize=11)
    save_figure(figure, file, dpi=120)


def _curves(axes: Axes, models: Sequence[Measured], some: Sequence[Condition]) -> None:
    """Draw lines over the levels: of the kinds of one model, or of the models' means over the kinds."""
    single, names = len(models) == 1, list(dict.fromkeys(one.name for one in some))
    apart = single or some[0].group == "fov"  # a known heading and an unknown one have no mean
    kinds, levels = [[name] for name in names] if apart else [names], _levels(some)
    for number, model in enumerate(models):
        for place, own in enumerate(kinds):
            values = {level: mean_of(model, _at(some, level, own)) for level in levels}
            points = [(level, value) for level, value in values.items() if value is not None]
            kind = own[0].replace("_", " ")
            label = kind if single else model.label + (f", {kind}" if apart else "")
            # one model's kinds differ by colour; of several models, each keeps its colour in all panels
            look = _look(place if single else number)
            dash = _look(place if apart else number)["linestyle"]
            if points:
                axes.plot(*zip(*points), label=label, **{**look, "linestyle": dash}, markersize=4)
    for number, model in enumerate(models):
        colour = GREY if single else COLOURS[number % len(COLOURS)]
        axes.axhline(recall(model, "plain") or 0, color=colour, linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set(xlabel=some[0].unit, ylabel="R@1 in %", ylim=(0, 103), xticks=levels)
    if some[0].group in LESS:  # to the right it becomes harder in all panels
        axes.invert_xaxis()
    if len(models) * len(kinds) > 1:
        axes.legend(frameon=False, fontsize=7, handlelength=3)


def _at(some: Sequence[Condition], level: float, names: Sequence[str]) -> list[Condition]:
    return [one for one in some if one.level == level and one.name in names]


def _bars(axes: Axes, models: Sequence[Measured], some: Sequence[Condition]) -> None:
    """Draw a row for each look, and a point for each model."""
    names = [one.name.replace("_", " ") for one in some]
    for number, model in enumerate(models):
        values = [recall(model, one.key) for one in some]
        heights = [row for row, value in enumerate(values) if value is not None]
        look = {**_look(number), "linestyle": "none"}
        axes.plot([values[row] for row in heights], heights, label=model.label, **look)
        axes.axvline(recall(model, "plain") or 0, color=look["color"], linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set(xlabel="R@1 in %", xlim=(0, 103), ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), names, fontsize=8)
    if len(models) > 1:
        axes.legend(frameon=False, fontsize=7, handlelength=3)


def _look(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": STYLES[number % len(STYLES)],
            "marker": MARKERS[number % len(MARKERS)]}  # fmt: skip
