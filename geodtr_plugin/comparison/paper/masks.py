"""Figures 7 and 8: where on the ground and from above the layout descriptors of a network look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...harness.report.inside import pair_masks, unrolled_masks
from ...utils.errors import UserError
from ...utils.figures import new_figure, save_figure
from .looking import looking
from .parts import Part
from .runs import Workshop

DPI = 130
WIDTH, LABEL = 1.5, 0.9  # inches of a picture, and of the words before a row
TALLEST = 0.75  # of a picture, in parts of its width: tiles are drawn smaller than panoramas are wide
FIRST = 4  # descriptors of Figure 8


class Strip(NamedTuple):
    """A row of a figure: what it shows, the image `[H, W, 3]` or None, and masks `[K, h, w]`."""

    name: str
    image: np.ndarray | None
    masks: np.ndarray


def draw_descriptors(shop: Workshop, part: Part) -> list[Path]:
    """Draw all layout descriptors of a pair, ground and aerial, with polar transform and without.

    Masks of tiles that are not unrolled are unrolled below, so that they can be compared with those of the panorama.
    """
    return _draw(shop, part, None)


def draw_first_descriptors(shop: Workshop, part: Part) -> list[Path]:
    """Draw the first descriptors of two methods on the same pair."""
    return _draw(shop, part, FIRST)


def _draw(shop: Workshop, part: Part, most: int | None) -> list[Path]:
    made = shop.sets.of(part.columns[0])
    assert made is not None
    pair: tuple[int, int] | None = None
    groups: list[tuple[str, list[Strip]]] = []
    for entry in part.entries(shop, part):
        with looking(shop, made, entry.variant) as look:
            if not hasattr(look.network.model.query_tower, "masks"):
                raise UserError(f"{entry.variant.method} has no layout descriptors.", "Name another with --method.")
            pair = pair or look.best_pair()
            images, masks = pair_masks(look.network, look.split, *pair)
            polar, where = look.network.model.polar, look.split.queries.ids[pair[0]]
            seen = {role: look.network.seen(role, image).permute(1, 2, 0).numpy() for role, image in images.items()}
            strips = [Strip("ground", seen["query"], masks["query"].numpy()),
                      Strip("aerial,\nunrolled" if polar else "aerial", seen["reference"], masks["reference"].numpy())]
            if not polar and (unrolled := unrolled_masks(masks["query"], masks["reference"])) is not None:
                strips.append(Strip("aerial masks,\nunrolled", None, unrolled.numpy()))
        name = f"{entry.variant.method}, {'with' if polar else 'without'} polar transform"
        groups.append((name, [strip._replace(masks=strip.masks[:most]) for strip in strips]))
    file = shop.root / f"{part.name}.png"
    _save(groups, f"{made[1]}, query {where}: seen, and masks from least (dark) to most (bright)", file)
    return [file]


def _save(groups: Sequence[tuple[str, Sequence[Strip]]], title: str, file: Path) -> None:
    """Write strips below each other: the image at the left, a column a descriptor."""
    count = max(len(strip.masks) for _, strips in groups for strip in strips)
    heights = [[_height(strip) for strip in strips] for _, strips in groups]
    tall = [sum(own) + 0.45 + 0.1 * len(own) for own in heights]
    figure = new_figure(LABEL + WIDTH * (count + 1), sum(tall) + 0.4)
    figure.suptitle(title, fontsize=9, color="0.3", x=0.01, ha="left")
    boxes = figure.subfigures(len(groups), 1, height_ratios=tall, squeeze=False)[:, 0]
    for box, (name, strips), own in zip(boxes, groups, heights):
        box.suptitle(name, fontsize=10.5, x=0.01, ha="left")
        widths = [LABEL, *[WIDTH] * (count + 1)]
        panels = box.subplots(len(strips), len(widths), height_ratios=own, width_ratios=widths, squeeze=False)
        for i, (row, strip) in enumerate(zip(panels, strips)):
            _strip(row, strip, numbered=i == 0)
    save_figure(figure, file, DPI)


def _height(strip: Strip) -> float:
    shape = strip.masks.shape[-2:] if strip.image is None else strip.image.shape[:2]
    return WIDTH * min(shape[0] / shape[1], TALLEST)


def _strip(row: Sequence[Any], strip: Strip, numbered: bool) -> None:
    for axes in row:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    row[0].text(1, 0.5, strip.name, fontsize=8.5, ha="right", va="center", transform=row[0].transAxes)
    if strip.image is not None:
        row[1].imshow(strip.image)
    for number, (axes, mask) in enumerate(zip(row[2:], strip.masks), 1):
        # a cell of the mask is a part of the image: it is drawn in the image's shape
        shape = mask.shape if strip.image is None else strip.image.shape[:2]
        axes.imshow(mask, cmap="cividis", extent=(0, shape[1], shape[0], 0))
        if numbered:
            axes.set_title(f"descriptor {number}", fontsize=8.5)
