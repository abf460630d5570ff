"""Queries that show a part of the panorama only."""

from __future__ import annotations

import pytest
import torch

from geodtr_plugin import CHSG
from geodtr_plugin.augmentations import BatchTransform, ImageTransform, RoleTransform
from geodtr_plugin.augmentations.field_of_view import crop_columns, narrow_width, random_columns
from geodtr_plugin.datasets import ImageArray, ImageDataset

NEUTRAL = dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def ramp(n: int, height: int, width: int) -> torch.Tensor:
    """uint8 panoramas whose value is their column."""
    return torch.arange(width, dtype=torch.uint8).expand(n, 3, height, width).clone()


@pytest.mark.parametrize("width, fov, expected", [(616, 180, 308), (616, 90, 154), (671, 70, 130), (671, 360, 671)])
def test_widths_are_rounded_down(width, fov, expected):
    assert narrow_width(width, fov) == expected


def test_a_window_goes_on_across_the_seam():
    cut = crop_columns(ramp(2, 2, 8), 4, torch.tensor([6, 1]))
    assert cut[:, 0, 0].tolist() == [[6, 7, 0, 1], [1, 2, 3, 4]]
    assert crop_columns(ramp(1, 2, 8), 4)[0, 0, 0].tolist() == [2, 3, 4, 5], "north is between columns 3 and 4"


def test_random_windows_are_whole_seeded_and_reach_every_heading():
    torch.manual_seed(1)
    first = random_columns(ramp(400, 1, 16), 5)
    steps = first[:, 0, 0].long().diff(dim=1) % 16
    assert (steps == 1).all()
    assert len(first[:, 0, 0, 0].unique()) == 16
    torch.manual_seed(1)
    assert torch.equal(first, random_columns(ramp(400, 1, 16), 5))


def test_evaluation_looks_north_and_training_anywhere():
    view, tile = ImageTransform(4, 4, panorama_width=16), ImageTransform(8, 8)
    images, tiles = ramp(64, 4, 16), torch.zeros(64, 3, 8, 8, dtype=torch.uint8)
    north = RoleTransform(view, **NEUTRAL)(images)
    assert north.shape == (64, 3, 4, 4) and (north[:, 0, 0] * 255).round()[0].tolist() == [6, 7, 8, 9]
    anywhere, _, _ = BatchTransform(view, tile, None, **NEUTRAL)(images, tiles, torch.arange(64))
    assert len(anywhere[:, 0, 0, 0].unique()) > 8
    fixed, _, _ = BatchTransform(view, tile, None, **NEUTRAL, random_heading=False)(images, tiles, torch.arange(64))
    assert torch.equal(fixed, north)


def test_twins_are_made_of_whole_panoramas():
    """The layout turns the panorama before the cut: all columns of it turn up, also with a fixed heading."""
    torch.manual_seed(0)
    view, tile = ImageTransform(4, 4, panorama_width=16), ImageTransform(8, 8)
    transform = BatchTransform(view, tile, CHSG(), **NEUTRAL, random_heading=False)
    query, reference, labels = transform(ramp(64, 4, 16), torch.zeros(64, 3, 8, 8, dtype=torch.uint8), torch.arange(64))
    assert query.shape == (128, 3, 4, 4) and reference.shape == (128, 3, 8, 8) and len(labels) == 128
    assert len((query[:, 0, 0, 0] * 255).round().unique()) == 8, "four turns, each as it is and mirrored"


def test_the_view_is_kept_with_the_weights():
    view = ImageTransform(32, 22, panorama_width=88)
    assert ImageTransform.from_config(view.to_config()) == view
    assert view.on_load(torch.zeros(3, 64, 176, dtype=torch.uint8)).shape == (3, 32, 88)


def test_a_data_set_turns_each_panorama_to_its_heading():
    images = ImageArray(ramp(3, 2, 8).permute(0, 2, 3, 1).numpy())
    turned = ImageDataset(images, headings=torch.tensor([0.0, 0.25, 0.99]).numpy())
    assert [turned[i][0][0, 0].tolist()[0] for i in range(3)] == [0, 2, 7]
    with pytest.raises(ValueError, match="2 headings"):
        ImageDataset(images, headings=torch.zeros(2).numpy())
