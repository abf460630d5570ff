"""Tiles cropped and turned, panoramas rolled, each by itself: what moves where, how often, and the maps with it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from geodtr_plugin.augmentations import BatchTransform, ImageTransform, Misalignment, crop_tiles
from geodtr_plugin.miners import CHSG
from geodtr_plugin.utils.errors import UnknownNameError

SIDE, MANY = 32, 4000


def ramps(size: int = SIDE, share: float = 1.0) -> Tensor:
    """[2, S, S]: how far right and how far down a pixel of the central `share` of a tile lies, -1 to 1."""
    axis = share * ((2 * torch.arange(size) + 1) / size - 1)
    return torch.stack([axis.expand(size, -1), axis[:, None].expand(-1, size)])


def azimuths(size: int = SIDE) -> Tensor:
    """[1, S, S] in half turns, with a seam between -1 and 1 in the south."""
    right, down = ramps(size)
    return torch.atan2(right, -down)[None] / math.pi


def test_a_crop_shows_the_centre_larger():
    tiles = torch.cat([ramps(), ramps()[:1]])[None]
    for share in (0.684, 0.8, 0.9973):
        cropped = crop_tiles(tiles, torch.tensor([share]))
        torch.testing.assert_close(cropped, torch.cat([ramps(share=share), ramps(share=share)[:1]])[None])
    assert crop_tiles(tiles, torch.ones(1)) is tiles


def test_maps_of_a_crop_are_of_the_nearest_pixel_and_have_a_seam_as_sharp_as_before():
    tiles = torch.cat([torch.rand(3, SIDE, SIDE), azimuths(), ramps()])[None].repeat(3, 1, 1, 1)
    shares = torch.tensor([0.7, 1.0, 0.9])
    cropped = crop_tiles(tiles, shares)
    assert torch.equal(cropped[1], tiles[1])
    pixel = 2 / SIDE
    for tile, share in zip(cropped, shares.tolist()):
        azimuth, right, down = tile[3:]
        assert ((torch.stack([right, down]) - ramps(share=share)).abs() <= pixel / 2 + 1e-6).all()
        torch.testing.assert_close(azimuth, torch.atan2(right, -down) / math.pi)  # of one pixel, a mean of none
        exact = torch.atan2(*(ramps(share=share) * torch.tensor([1.0, -1.0]).view(2, 1, 1))) / math.pi
        missed = ((azimuth - exact + 1) % 2 - 1).abs() * math.pi * ramps(share=share).norm(dim=0)
        assert missed.max() <= pixel  # along the circle, in the tile's own length: within a pixel
        south = azimuth[SIDE // 2 + 4 :, SIDE // 2 - 1 : SIDE // 2 + 1]
        assert (south[:, 0] < -0.9).all() and (south[:, 1] > 0.9).all()


def test_the_draws_are_the_papers():
    torch.manual_seed(0)
    tiles = torch.cat([torch.zeros(3, 4, 4), ramps(4)]).expand(MANY, -1, -1, -1)
    _, found = Misalignment(tiles="crop+turn")(torch.zeros(MANY, 3, 1, 1), tiles)
    directions = found[:, 3:, 1, 1].sign()  # of the top left corner: it tells the turn
    kept = (directions == torch.tensor([-1.0, -1.0])).all(1).float().mean()
    assert kept == pytest.approx(0.4, abs=0.03)
    for other in ([1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]):
        assert (directions == torch.tensor(other)).all(1).float().mean() == pytest.approx(0.2, abs=0.03)
    torch.manual_seed(0)
    colours = torch.cat([ramps(64), ramps(64)[:1]]).expand(MANY, -1, -1, -1)
    _, found = Misalignment(tiles="crop+turn")(torch.zeros(MANY, 3, 1, 1), colours)
    shares = found.amax((1, 2, 3)) / colours.max()
    cropped = shares[shares < 0.9999]
    assert len(cropped) / MANY == pytest.approx(236 / 748, abs=0.03)
    assert 513 / 750 - 1e-4 <= cropped.min() < 0.69 and 0.99 < cropped.max() <= 748 / 750 + 1e-4


def test_turns_and_rolls_move_whole_pixels_and_maps_go_with_them():
    torch.manual_seed(0)
    numbers = torch.arange(float(SIDE * SIDE)).view(1, SIDE, SIDE)
    tiles = (torch.cat([numbers / SIDE**2] * 3 + [numbers])).expand(20, -1, -1, -1)
    ground = tiles[..., :20, :]
    rolled, turned = Misalignment(tiles="crop+turn", panoramas="roll")(ground, tiles)
    firsts = set()
    for image in rolled:
        columns = image[3, 0].long()
        assert torch.equal(image, ground[0][..., columns])
        assert torch.equal((columns - columns[0]) % SIDE, torch.arange(SIDE))
        firsts.add(int(columns[0]))
    assert len(firsts) > 10
    whole = [image for image in turned if len(image[3].unique()) == SIDE * SIDE]
    assert len(whole) > 5
    for image in whole:
        assert torch.equal(image[0], image[3] / SIDE**2)
        assert any(torch.equal(image, tiles[0].rot90(k, (1, 2))) for k in range(4))


def test_without_a_choice_nothing_happens_and_no_number_is_drawn():
    images = torch.rand(2, 3, 8, 8)
    before = torch.get_rng_state()
    ground, aerial = Misalignment()(images, images)
    assert ground is images and aerial is images and torch.equal(torch.get_rng_state(), before)


def test_draws_come_from_the_generator_that_it_is_given():
    images = torch.rand(8, 3, 8, 8)
    found = [
        Misalignment("crop+turn", "roll", torch.Generator().manual_seed(seed))(images, images) for seed in (1, 1, 2)
    ]
    assert all(torch.equal(one, other) for one, other in zip(found[0], found[1]))
    assert not torch.equal(found[0][0], found[2][0]) and not torch.equal(found[0][1], found[2][1])


def test_it_comes_after_the_augmentation_so_that_twins_differ():
    torch.manual_seed(0)
    view, panorama = ImageTransform(8, 8), ImageTransform(4, 16)
    transform = BatchTransform(
        panorama, view, CHSG.variant("s"), query_maps=torch.arange(64.0).view(1, 4, 16),
        misalign=Misalignment("crop+turn", "roll"),
    )  # fmt: skip
    query, _, labels = transform(torch.rand(16, 3, 4, 16), torch.rand(16, 3, 8, 8), torch.arange(16))
    assert query.shape == (32, 4, 4, 16) and len(labels) == 32
    assert (query[:16, 3, 0, 0] != query[16:, 3, 0, 0]).sum() > 8


def test_another_name_is_answered_with_those_that_there_are():
    with pytest.raises(UnknownNameError, match="crop\\+turn"):
        Misalignment(tiles="crop")


def test_the_turns_of_tiles_are_told():
    tiles = torch.arange(16.0).view(1, 1, 4, 4).repeat(MANY, 1, 1, 1)
    one, other = (Misalignment(tiles="crop+turn", generator=torch.Generator().manual_seed(4)) for _ in range(2))
    (ground, aerial, turns), again = one.told(tiles, tiles), other(tiles, tiles)
    assert torch.equal(aerial, again[1]) and torch.equal(ground, tiles)
    upright = torch.stack([tile.rot90(int(turn), (1, 2)) for tile, turn in zip(aerial, turns)])
    assert set(turns.tolist()) == {0, 1, 2, 3} and (upright[:, 0, 0, 0] < upright[:, 0, 3, 3]).all()
    assert (upright[:, 0, 0, 0] < upright[:, 0, 0, 3]).all()  # clockwise by so many quarters
    assert Misalignment(panoramas="roll").told(tiles, tiles)[2] is None
