"""A picture of some pairs with north marked, to see with one's own eyes what the check measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..datasets.base import Split

PAIRS = 4
_POLAR = (122, 671)  # height and width of the polar transform, as in the paper
_MARK = {"color": "yellow", "fontsize": 11, "fontweight": "bold", "ha": "center", "va": "top"}


def picture_of_pairs(index: Split, file: Path, pairs: int = PAIRS, seed: int = 0) -> None:
    """Some pairs of a split, one below the other, as an image file.

    On the left the aerial with N at its top edge; beside it the panorama with a line where north must be, and below it
    the polar transform of the aerial, where the camera stands at the centre of its tile.

    Args:
        index: the split.
        file: where to write.
        pairs: how many.
        seed: chooses them.
    """
    from ..harness.pictures import _figure

    chosen = np.sort(np.random.default_rng(seed).permutation(len(index.pairs))[:pairs])
    figure = _figure(11, 2.6 * len(chosen) + 0.4)
    for part, pair in zip(figure.subfigures(len(chosen), 1, squeeze=False)[:, 0], chosen):
        _draw_pair(part, index, *index.pairs[pair].tolist())
    figure.suptitle(f"{index!r}: what is left and right of N must be the same in all three", fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _draw_pair(part, index: Split, query: int, reference: int) -> None:
    panorama, aerial = index.queries.read(query), index.references.read(reference)
    square, wide = ("aerial", "panorama")
    grid = part.add_gridspec(2 if index.centred else 1, 2, width_ratios=[1, 3.2])
    axes = part.add_subplot(grid[:, 0])
    _show(axes, aerial, f"{square} {index.references.ids[reference]}")
    axes.plot([aerial.shape[2] / 2], [aerial.shape[1] / 2], "+", color="yellow")
    axes = part.add_subplot(grid[0, 1])
    _show(axes, panorama, f"{wide} {index.queries.ids[query]}", line=True)
    if index.centred:
        from ..augmentations import PolarTransform

        side = min(aerial.shape[1:])
        polar = PolarTransform(*_POLAR)(aerial[None, :, :side, :side])[0].round().byte()
        _show(part.add_subplot(grid[1, 1]), polar, "polar transform of the aerial", line=True)


def _show(axes, image, title: str, line: bool = False) -> None:
    """An image with N at the middle of its top edge, and a line down from there in pictures of the whole circle."""
    middle = image.shape[2] / 2 - 0.5
    axes.imshow(image.permute(1, 2, 0).numpy(), aspect="auto" if line else "equal")
    if line:
        axes.axvline(middle, color="yellow", linewidth=0.8)
    axes.text(middle, 0, "N", **_MARK)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=7)
