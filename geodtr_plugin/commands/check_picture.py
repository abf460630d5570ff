"""A picture of some pairs with north marked, to see with one's own eyes what the check measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..datasets import Split

PAIRS = 4
_SIDE, _WIDTH = 4.0, 11.0  # inches at most: of an aerial, and of the picture
_POLAR_WIDTH = 671  # of the polar transform, as in the paper
_MARK = {"color": "yellow", "fontsize": 11, "fontweight": "bold", "ha": "center", "va": "top"}


def draw_pairs(split: Split, file: Path, pairs: int = PAIRS, seed: int = 0) -> None:
    """Write some pairs of a split, one below the other, as an image file.

    On the left the aerial with N at its top edge; beside it the panorama with a line where north must be, and below it
    the polar transform of the aerial in the panorama's shape, where the camera stands at the centre of its tile.

    Args:
        split: the split.
        file: where to write.
        pairs: how many.
        seed: chooses them.
    """
    from ..utils.figures import new_figure, save_figure, widest

    chosen = split.pairs[np.sort(np.random.default_rng(seed).permutation(len(split.pairs))[:pairs])].tolist()
    panoramas = [_pixels(split.queries.read(query)) for query, _ in chosen]
    rows = 2 if split.centred else 1
    wide = widest(panoramas, most=6) / rows
    side = min(_SIDE, _WIDTH / (1 + wide))
    figure = new_figure(side * (1 + wide), (side + 0.3) * len(chosen) + 0.4)
    parts = figure.subfigures(len(chosen), 1, squeeze=False)[:, 0]
    for part, panorama, (query, reference) in zip(parts, panoramas, chosen):
        grid = part.add_gridspec(rows, 2, width_ratios=[1, wide])
        aerial = split.references.read(reference)
        axes = part.add_subplot(grid[:, 0])
        _draw_image(axes, _pixels(aerial), f"aerial {split.references.ids[reference]}")
        axes.plot([aerial.shape[2] / 2], [aerial.shape[1] / 2], "+", color="yellow")
        axes = part.add_subplot(grid[0, 1])
        _draw_image(axes, panorama, f"panorama {split.queries.ids[query]}", line=True)
        if split.centred:
            polar = _polar(aerial, panorama.shape[0] / panorama.shape[1])
            _draw_image(part.add_subplot(grid[1, 1]), polar, "polar transform of the aerial", line=True)
    figure.suptitle(f"{split!r}: what is left and right of N must be the same in all three", fontsize=9)
    save_figure(figure, file, dpi=110)


def _polar(aerial: Tensor, shape: float) -> np.ndarray:
    """Return the polar transform of the square in the middle of an aerial, of a height that is `shape` * the width."""
    from torchvision.transforms.functional import center_crop

    from ..augmentations import PolarTransform

    transform = PolarTransform(max(1, round(shape * _POLAR_WIDTH)), _POLAR_WIDTH)
    return _pixels(transform(center_crop(aerial[None], [min(aerial.shape[1:])]))[0].round().byte())


def _pixels(image: Tensor) -> np.ndarray:
    """Turn an image `[3, H, W]` into `[H, W, 3]`."""
    return image.permute(1, 2, 0).numpy()


def _draw_image(axes: Axes, image: np.ndarray, title: str, line: bool = False) -> None:
    """Draw an image `[H, W, 3]` with N at the middle of its top edge, and a line from there if it is a whole circle."""
    middle = image.shape[1] / 2 - 0.5
    axes.imshow(image)
    if line:
        axes.axvline(middle, color="yellow", linewidth=0.8)
    axes.text(middle, 0, "N", **_MARK)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=7)
