"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def learning_curve(metrics: list[dict[str, Any]], chance: dict[str, float], title: str, file: Path) -> None:
    """Loss and R@1 over the epochs, with chance level, as a PNG.

    Args:
        metrics: the records of `metrics.jsonl`.
        chance: R@1 of a random ranking, in percent, by test set.
        title: what was trained.
        file: where to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, recalls = figure.subplots(1, 2)
    for name in sorted({name for record in metrics for name in record["losses"]}):
        rows = [(record["epoch"], record["losses"][name]) for record in metrics if name in record["losses"]]
        losses.plot(*zip(*rows), marker=".", label=name.replace("_", " "))
    losses.set(yscale="log", ylabel="training loss", xlabel="epoch")
    for name in chance:
        rows = [(r["epoch"], r["tests"][name]["recall_at_1"]) for r in metrics if name in r.get("tests", {})]
        (line,) = recalls.plot(*zip(*rows), marker=".", label=name)
        recalls.axhline(chance[name], color=line.get_color(), linestyle=":", linewidth=1)
    recalls.set(ylim=(0, 100), ylabel="R@1 in % (dotted: chance)", xlabel="epoch")
    for axes in (losses, recalls):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(file, dpi=120)
