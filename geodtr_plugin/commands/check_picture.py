"""A picture of some pairs with north marked, to see with one's own eyes what the check measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from ..datasets import Split

PAIRS = 4
_POLAR = (122, 671)  # height and width of the polar transform, as in the paper
_MARK = {"color": "yellow", "fontsize": 11, "fontweight": "bold", "ha": "center", "va": "top"}


def draw_pairs(split: Split, file: Path, pairs: int = PAIRS, seed: int = 0) -> None:
    """Write some pairs of a split, one below the other, as an image file.

    On the left the aerial with N at its top edge; beside it the panorama with a line where north must be, and below it
    the polar transform of the aerial, where the camera stands at the centre of its tile.

    Args:
        split: the split.
        file: where to write.
        pairs: how many.
        seed: chooses them.
    """
    from ..utils.figures import new_figure

    chosen = np.sort(np.random.default_rng(seed).permutation(len(split.pairs))[:pairs])
    figure = new_figure(11, 2.6 * len(chosen) + 0.4)
    for part, pair in zip(figure.subfigures(len(chosen), 1, squeeze=False)[:, 0], chosen):
        _draw_pair(part, split, *split.pairs[pair].tolist())
    figure.suptitle(f"{split!r}: what is left and right of N must be the same in all three", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _draw_pair(part: SubFigure, split: Split, query: int, reference: int) -> None:
    panorama, aerial = split.queries.read(query), split.references.read(reference)
    grid = part.add_gridspec(2 if split.centred else 1, 2, width_ratios=[1, 3.2])
    axes = part.add_subplot(grid[:, 0])
    _draw_image(axes, aerial, f"aerial {split.references.ids[reference]}")
    axes.plot([aerial.shape[2] / 2], [aerial.shape[1] / 2], "+", color="yellow")
    axes = part.add_subplot(grid[0, 1])
    _draw_image(axes, panorama, f"panorama {split.queries.ids[query]}", line=True)
    if split.centred:
        from ..augmentations import PolarTransform

        side = min(aerial.shape[1:])
        polar = PolarTransform(*_POLAR)(aerial[None, :, :side, :side])[0].round().byte()
        _draw_image(part.add_subplot(grid[1, 1]), polar, "polar transform of the aerial", line=True)


def _draw_image(axes: Axes, image: Tensor, title: str, line: bool = False) -> None:
    """Draw an image `[3, H, W]` with N at the middle of its top edge, and a line from there if it is a whole circle."""
    middle = image.shape[2] / 2 - 0.5
    axes.imshow(image.permute(1, 2, 0).numpy(), aspect="auto" if line else "equal")
    if line:
        axes.axvline(middle, color="yellow", linewidth=0.8)
    axes.text(middle, 0, "N", **_MARK)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=7)
