"""Pictures show images in their own shapes: a circle stays one."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from geodtr_plugin.commands.check_picture import draw_pairs
from geodtr_plugin.datasets import ImageArray, Split
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.harness.pictures import retrieval_examples

RED, BLUE = (230, 20, 20), (20, 60, 200)
SHAPES = [(224, 1232), (64, 176), (96, 96), (400, 300)]


def disc(height: int, width: int, colour) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot(rows - height / 2 + 0.5, columns - width / 2 + 0.5) < 0.4 * min(height, width)
    return np.where(inside[:, :, None], colour, (120, 120, 120)).astype(np.uint8)


def split_of(query: tuple[int, int], reference: tuple[int, int], centred: bool = False) -> Split:
    images = [ImageArray(disc(*shape, colour)[None]) for shape, colour in ((query, RED), (reference, BLUE))]
    place = np.zeros(1, int)
    return Split("tiny", "test", *images, np.zeros((1, 2), int), place, place, Truth.diagonal(1), centred=centred)


def box(file, colour) -> tuple[int, int]:
    """Return height and width of what has this colour."""
    near = (abs(np.asarray(Image.open(file).convert("RGB")).astype(int) - colour) < 40).all(axis=2)
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("reference", [(96, 96), (60, 100)])
@pytest.mark.parametrize("query", SHAPES)
@pytest.mark.parametrize("draw", ["examples", "pairs", "pairs with polar transform"])
def test_a_circle_stays_one(tmp_path, draw, query, reference):
    file = tmp_path / "a.png"
    split = split_of(query, reference, centred="polar" in draw)
    if draw == "examples":
        retrieval_examples(split, np.zeros(1, int), np.zeros((1, 1), int), "a", file)
    else:
        draw_pairs(split, file)
    for colour in (RED,) if split.centred else (RED, BLUE):  # the polar transform is blue too
        height, width = box(file, colour)
        assert min(height, width) > 30 and abs(height - width) <= 4


@pytest.mark.parametrize("shape", SHAPES)
def test_the_line_of_north_goes_through_the_middle_of_panorama_and_polar_transform(tmp_path, shape):
    draw_pairs(split_of(shape, (96, 96), centred=True), tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    yellow = (pixels[:, :, 0] > 200) & (pixels[:, :, 1] > 200) & (pixels[:, :, 2] < 80)
    column = yellow.sum(axis=0)[pixels.shape[1] // 4 :].argmax() + pixels.shape[1] // 4
    red = np.flatnonzero((abs(pixels - RED) < 40).all(axis=2).any(axis=0))
    assert abs(column - (red[0] + red[-1]) / 2) <= 3
