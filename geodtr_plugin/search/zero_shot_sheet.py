"""A picture of queries with their most similar tiles: a row each, the right tile framed, its rank written."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from PIL import Image
from torch import Tensor

from ..datasets.base import Split
from ..utils.figures import new_figure, save_figure
from .photos import printable_name
from .zero_shot import SHOWN, Outcome, inner_part, own_tiles

MOST_ROWS = 60  # a longer picture is one that nobody looks at
_TILE, _PANORAMA, _GAP, _TEXT = 120, 440, 8, 26  # pixels: tile, panorama's column, between, above
_DPI, _FONT = 100, 7
_RIGHT, _PAPER = "tab:green", 255


def draw_sheet(split: Split, outcome: Outcome, title: str, file: str | os.PathLike) -> int:
    """Draw queries with their most similar tiles, and the right one behind them where it is none of these.

    Images are drawn as the model saw them: the queries' rows, and the inner part of the tiles.

    Args:
        split: what was searched.
        outcome: what was found.
        title: of the picture.
        file: the picture; its suffix says of what kind.

    Returns:
        The number of queries that the picture shows, MOST_ROWS at most.
    """
    count, pitch = min(len(split.queries), MOST_ROWS), _TILE + _TEXT + _GAP
    width, height = _GAP + _PANORAMA + (SHOWN + 1) * (_TILE + _GAP), _TEXT + count * pitch
    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    figure = new_figure(width / _DPI, height / _DPI)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.text(_GAP, _TEXT / 2, title, fontsize=_FONT + 2, va="center", parse_math=False)
    for row in range(count):
        top = _TEXT + row * pitch
        for left, image, text, right in _row(split, outcome, row):
            canvas[top + _TEXT : top + _TEXT + len(image), left : left + image.shape[1]] = image
            axes.text(left, top + _TEXT - 4, text, fontsize=_FONT, va="bottom", parse_math=False)
            if right:
                _frame(axes, left, top + _TEXT, image.shape[:2])
    axes.imshow(canvas, interpolation="none", aspect="auto")
    axes.axis("off")
    save_figure(figure, file, dpi=_DPI)
    return count


def _row(split: Split, outcome: Outcome, row: int) -> Iterator[tuple[int, np.ndarray, str, bool]]:
    """Yield left end, image, text and whether it is right: of the query, then of the tiles beside it."""
    ranks, turned, right = outcome.ranks, outcome.turned, set(split.truth.positives[row].tolist())
    rank = f"rank {ranks.plain[row] + 1:,} of {ranks.num_references:,}" if ranks.found[row] else "no tile is right"
    among = f", {turned.plain[row] + 1:,} of {turned.num_references:,} turned" if ranks.found[row] else ""
    text = f"{_short(split.queries.ids[row])}   {rank}{among}"
    yield _GAP, _fitted(split.queries.read(row), _PANORAMA - _GAP), text, False
    shown = [int(tile) for tile in outcome.top[row] if tile >= 0]
    own = int(own_tiles(split)[row])
    beside = [(place, tile, f"{place}") for place, tile in enumerate(shown, start=1)]
    if not right & set(shown) and own >= 0:
        beside.append((SHOWN + 1, own, f"rank {ranks.plain[row] + 1:,}: the right one"))
    for place, tile, caption in beside:
        image = _fitted(inner_part(split.references.read(tile), outcome.scale), _TILE)
        yield _GAP + _PANORAMA + (place - 1) * (_TILE + _GAP), image, caption, tile in right


def _fitted(image: Tensor, width: int) -> np.ndarray:
    """Resize an image `[3, h, w]` into the height of a row and a width, keeping its shape, uint8 `[h, w, 3]`."""
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    scale = min(_TILE / picture.height, width / picture.width)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3))


def _frame(axes, left: int, top: int, size: tuple[int, int]) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), size[1], size[0], fill=False, edgecolor=_RIGHT, linewidth=3))


def _short(name: str, most: int = 34) -> str:
    """Return the end of a name, where names differ."""
    name = printable_name(name)
    return name if len(name) <= most else "..." + name[3 - most :]
