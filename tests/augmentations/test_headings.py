"""Images turned to a heading: the same geometry as the layouts', and what may not turn."""

from __future__ import annotations

import pytest
import torch

from geodtr_plugin import CHSG
from geodtr_plugin.augmentations import BatchTransform, ImageTransform, turn_panoramas, turn_tiles
from geodtr_plugin.augmentations.headings import centred_on, random_turns

PANORAMAS = torch.arange(2 * 3 * 4 * 12).view(2, 3, 4, 12)
TILES = torch.arange(2 * 3 * 8 * 8).view(2, 3, 8, 8)
NEUTRAL = dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("turns", range(4))
def test_quarters_undo_those_of_layouts(turns):
    layout = torch.full((2,), turns)
    assert torch.equal(centred_on(turn_panoramas(PANORAMAS, layout), 90 * turns), PANORAMAS)
    assert torch.equal(centred_on(turn_tiles(TILES, layout), 90 * turns, tiles=True), TILES)


def test_the_direction_comes_to_the_centre():
    east = centred_on(PANORAMAS, 90)
    assert torch.equal(east[..., 6], PANORAMAS[..., 9]), "three quarters of the columns are east"
    assert torch.equal(centred_on(east, -90), PANORAMAS) and torch.equal(centred_on(PANORAMAS, 360), PANORAMAS)
    tiles = torch.zeros(1, 3, 5, 5)
    tiles[..., 2, 4] = 1  # in the east
    assert (centred_on(tiles, 90, tiles=True)[..., 0, 2] == 1).all()


def test_maps_of_directions_stay():
    images = torch.cat([PANORAMAS, PANORAMAS[:, :2]], dim=1)
    for turned in (centred_on(images, 90), random_turns(images)):
        assert torch.equal(turned[:, 3:], images[:, 3:]) and turned.shape == images.shape
    assert torch.equal(centred_on(images, 90)[:, :3], centred_on(PANORAMAS, 90))


@pytest.mark.parametrize("images, degrees", [(TILES, 45), (PANORAMAS, 90)])
def test_tiles_turn_by_quarters_alone(images, degrees):
    with pytest.raises(ValueError, match="by quarters"):
        centred_on(images, degrees, tiles=True)


def test_training_turns_the_query_alone_after_chsg():
    ground = torch.randint(0, 256, (64, 3, 4, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    aerial = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = []
    for turned in (False, True):
        transform = BatchTransform(
            ImageTransform(4, 16), ImageTransform(8, 8), CHSG.variant("l+s"), **NEUTRAL, turned=turned
        )
        torch.manual_seed(2)
        found.append(transform(ground / 255, aerial, torch.arange(64)))
    (plain, *others), (query, *same) = found
    assert all(torch.equal(*both) for both in zip(others, same))
    rolled = torch.stack([plain.roll(k, -1) for k in range(16)])
    shifts = (rolled == query).flatten(2).all(2)  # [16, 128]
    assert (shifts.sum(0) == 1).all() and shifts.any(1).all(), "every column begins a query, of twins each its own"
    assert (shifts[:, :64] != shifts[:, 64:]).any()


def test_a_narrow_view_is_cut_from_the_turned_panorama():
    ramp = torch.arange(16, dtype=torch.uint8).expand(200, 3, 2, 16).clone()
    view, tile = ImageTransform(2, 4, panorama_width=16), torch.zeros(200, 3, 8, 8)
    for turned, starts in ((True, 16), (False, 1)):
        transform = BatchTransform(view, ImageTransform(8, 8), **NEUTRAL, random_heading=False, turned=turned)
        query = (255 * transform(ramp, tile, torch.arange(200))[0][:, 0, 0]).round().long()
        assert (query.diff(dim=1) % 16 == 1).all() and len(query[:, 0].unique()) == starts
