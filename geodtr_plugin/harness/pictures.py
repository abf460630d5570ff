"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils.figures import new_figure, save_figure, widest

if TYPE_CHECKING:
    from ..datasets.base import Split

RIGHT, WRONG, IGNORED = "tab:green", "tab:red", "tab:orange"


def learning_curve(metrics: list[dict[str, Any]], chance: dict[str, float], title: str, file: Path) -> None:
    """Draw loss and R@1 over the epochs, with chance level, as a PNG.

    Args:
        metrics: the records of `metrics.jsonl`.
        chance: R@1 of a random ranking, in percent, by test set.
        title: what was trained.
        file: where to write.
    """
    figure = new_figure(9, 3.6)
    from matplotlib.ticker import MaxNLocator

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
    save_figure(figure, file, dpi=120)


def retrieval_examples(split: Split, queries: np.ndarray, top: np.ndarray, title: str, file: Path) -> None:
    """Draw some queries with their most similar references, framed by right, wrong and semi-positive, as a PNG.

    Images are drawn as they are stored, in their own shapes.

    Args:
        split: the test set.
        queries: rows of the queries, `[E]`.
        top: their most similar references, best first, `[E, K]`.
        title: of the picture.
        file: where to write.
    """
    asked = [_picture(split.queries, query) for query in queries]
    answers = {reference: _picture(split.references, reference) for reference in np.unique(top)}
    widths = [widest(asked, most=4), *[widest(answers.values(), most=2)] * top.shape[1]]
    figure = new_figure(1.6 * sum(widths), 1.65 * len(queries) + 0.4)
    rows = figure.subplots(len(queries), 1 + top.shape[1], squeeze=False, width_ratios=widths)
    for axes, query, image, found in zip(rows, queries, asked, top):
        axes[0].imshow(image)
        for ax, reference in zip(axes[1:], found):
            ax.imshow(answers[reference])
            for spine in ax.spines.values():
                spine.set(color=_verdict(split, query, reference), linewidth=4)
        for ax in axes:
            ax.set(xticks=[], yticks=[])
    for place, ax in enumerate(rows[0]):
        ax.set_title("query" if place == 0 else f"{place}", fontsize=9)
    figure.suptitle(f"{title} (green: the right place)", fontsize=10)
    save_figure(figure, file, dpi=100)


def sheet(columns: Mapping[str, np.ndarray], title: str, file: Path) -> None:
    """Draw images side by side, a row for each pair, as a PNG.

    Args:
        columns: images `[N, h, w, 3]` in [0, 1], N alike, by what stands above them.
        title: of the picture.
        file: where to write.
    """
    count = len(next(iter(columns.values())))
    widths = [widest(images, most=6) for images in columns.values()]
    figure = new_figure(1.1 * sum(widths), 1.15 * count + 0.6)
    rows = figure.subplots(count, len(columns), squeeze=False, width_ratios=widths)
    for column, (name, images) in zip(rows.T, columns.items()):
        column[0].set_title(name, fontsize=9)
        for ax, image in zip(column, images):
            ax.imshow(image)
            ax.set(xticks=[], yticks=[])
    figure.suptitle(title, fontsize=10)
    save_figure(figure, file, dpi=120)


def _verdict(split: Split, query: int, reference: int) -> str:
    if reference in split.truth.positives[query]:
        return RIGHT
    ignored = split.truth.ignored is not None and reference in split.truth.ignored[query]
    return IGNORED if ignored else WRONG


def _picture(images, row: int):
    return images.read(int(row)).permute(1, 2, 0).numpy()
