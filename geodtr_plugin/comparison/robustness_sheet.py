"""A sheet of all conditions, to be looked at: one query and its tile, a row for each kind, a column for each level."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from ..utils.figures import check_picture
from ..utils.files import atomic_path

if TYPE_CHECKING:
    from ..datasets import Split
    from .conditions import Condition

WIDTH, LABEL, GAP = 320, 14, 6  # pixels: of a panorama, of the line above it, between pictures


def write_sheet(split: Split, conditions: Sequence[Condition], file: str | os.PathLike[str], row: int = 0) -> None:
    """Draw a query, or the tile where a condition changes that, under all conditions.

    Args:
        split: the plain test set.
        conditions: what is drawn; those of one kind stand in one row.
        file: a picture.
        row: of the query.

    Raises:
        UserError: the picture cannot be written.
    """
    check_picture(file)
    tile = int(split.truth.positives[row][0])
    rows: dict[tuple[str, str], list[Image.Image]] = {}
    plain = [_labelled("plain", split.queries.read(row).permute(1, 2, 0).numpy()),
             _labelled("its tile", split.references.read(tile).permute(1, 2, 0).numpy())]  # fmt: skip
    rows["", ""] = plain
    for condition in conditions:
        changed = condition.change(split)
        of_tile = changed.queries is split.queries
        image = changed.references.read(tile) if of_tile else changed.queries.read(row)
        picture = _labelled(condition.words, image.permute(1, 2, 0).numpy())
        # looks have one level each, and stand side by side
        rows.setdefault((condition.group, condition.name if condition.level else ""), []).append(picture)
    lines = [pictures[begin : begin + 5] for pictures in rows.values() for begin in range(0, len(pictures), 5)]
    heights = [max(picture.height for picture in line) + GAP for line in lines]
    sheet = Image.new("RGB", (5 * (WIDTH + GAP), sum(heights)), "white")
    for line, top in zip(lines, np.cumsum([0, *heights]).tolist()):
        for column, picture in enumerate(line):
            sheet.paste(picture, (column * (WIDTH + GAP), top))
    with atomic_path(file) as temporary:
        sheet.save(temporary)


def _labelled(text: str, image: np.ndarray) -> Image.Image:
    """Return an image, uint8 `[H, W, 3]`, at the sheet's size under a line of text; tiles are half as wide."""
    width = WIDTH if image.shape[1] > image.shape[0] else WIDTH // 2
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture = picture.resize((width, max(1, round(width * image.shape[0] / image.shape[1]))))
    labelled = Image.new("RGB", (width, picture.height + LABEL), "white")
    labelled.paste(picture, (0, LABEL))
    ImageDraw.Draw(labelled).text((2, 1), text, fill="black")
    return labelled
