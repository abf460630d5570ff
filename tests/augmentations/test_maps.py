"""Channels behind the colours: they go where their pixels go, and nothing else happens to them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geodtr_plugin.augmentations import SEMANTIC, BatchTransform, ImageTransform, LayoutSimulation, RoleTransform
from geodtr_plugin.miners import CHSG
from geodtr_plugin.miners.chsg import CHSG_VARIANTS

PAIRS = 16  # enough for all layouts to be drawn
PLAIN = dict(mean=(0.0,) * 3, std=(1.0,) * 3)
VIEWS = {"query": ImageTransform(12, 40), "tile": ImageTransform(24, 24), "polar": ImageTransform(12, 40, polar=True)}


def maps_of(view: ImageTransform) -> Tensor:
    """[2, h, w]: a number of its own for each pixel, and noise."""
    height, width = view.size
    numbers = torch.arange(1.0, height * width + 1).view(1, height, width)
    return torch.cat([numbers, torch.randn(1, height, width, generator=torch.Generator().manual_seed(0))])


def shown(maps: Tensor) -> Tensor:
    """Images [PAIRS, 3, h, w] in [0, 1] whose colours tell which pixel they are."""
    colours = torch.stack([maps[0], 7 * maps[0] % 1009, maps[0].flip(0)]) / 1024
    return colours.clamp(0, 1).expand(PAIRS, -1, -1, -1).clone()


@pytest.mark.parametrize("layout", range(8))
@pytest.mark.parametrize("aerial", ["tile", "polar"])
def test_each_pixel_keeps_its_maps_under_every_layout(aerial, layout):
    maps = {kind: maps_of(VIEWS[kind]) for kind in ("query", aerial)}
    query, reference = (torch.cat([shown(m)[:1], m[None]], 1) for m in maps.values())
    simulate = LayoutSimulation(polar=aerial == "polar")
    for before, after in zip((query, reference), simulate(query, reference, [layout])):
        order = after[0, 3].long().flatten() - 1  # the number of the pixel that came here
        assert torch.equal(order.sort().values, torch.arange(len(order)))
        assert torch.equal(after[0].flatten(1), before[0].flatten(1)[:, order])


@pytest.mark.parametrize("variant", CHSG_VARIANTS)
def test_maps_follow_chsg_and_change_nothing_of_the_colours(variant):
    maps = {kind: maps_of(VIEWS[kind]) for kind in ("query", "tile")}
    images = [shown(m) for m in maps.values()]
    outputs = []
    for given in ({}, {"query_maps": maps["query"], "reference_maps": maps["tile"]}):
        torch.manual_seed(3)
        transform = BatchTransform(VIEWS["query"], VIEWS["tile"], CHSG.variant(variant), **given)
        outputs.append(transform(*images, torch.arange(PAIRS)))
    (query, reference, labels), (with_maps, reference_with_maps, same_labels) = outputs
    assert torch.equal(labels, same_labels)
    for plain, mapped, own in ((query, with_maps, maps["query"]), (reference, reference_with_maps, maps["tile"])):
        assert mapped.shape == (len(plain), 5, *own.shape[1:])
        assert torch.equal(mapped[:, :3], plain)
        for numbers, noise in mapped[:, 3:]:
            order = numbers.long().flatten() - 1
            assert torch.equal(order.sort().values, torch.arange(len(order)))
            assert torch.equal(noise.flatten(), own[1].flatten()[order])


@pytest.mark.parametrize("random_heading", [True, False])
def test_a_limited_field_of_view_cuts_them_with_their_panorama(random_heading):
    view = ImageTransform(12, 10, panorama_width=40)
    maps = maps_of(view)
    assert maps.shape == (2, 12, 40)
    transform = BatchTransform(
        view, VIEWS["tile"], CHSG.variant("l"), **PLAIN, random_heading=random_heading, query_maps=maps
    )
    torch.manual_seed(0)
    query, reference, _ = transform(shown(maps), shown(maps_of(VIEWS["tile"])), torch.arange(PAIRS))
    assert query.shape == (2 * PAIRS, 5, 12, 10) and reference.shape[1] == 3
    for image in query:
        pixels = image[3].long().flatten() - 1
        assert torch.equal(image[:3].flatten(1), shown(maps)[0].flatten(1)[:, pixels])
        assert torch.equal(image[4].flatten(), maps[1].flatten()[pixels])


def test_evaluation_appends_them_as_they_are():
    view = ImageTransform(12, 10, panorama_width=40)
    maps, stored = maps_of(view), torch.randint(0, 256, (3, 3, 30, 90), dtype=torch.uint8)
    transform, plain = RoleTransform(view, maps=maps), RoleTransform(view)
    found = transform(stored)
    assert torch.equal(found[:, :3], plain(stored))
    assert torch.equal(found[:, 3:], maps[:, :, 15:25].expand(3, -1, -1, -1))
    assert not transform.state_dict() and "maps=2" in repr(transform)


def test_images_that_show_no_more_than_the_network_sees_get_the_maps_of_that_part():
    view = ImageTransform(12, 10, panorama_width=40)
    panorama = torch.rand(2, 3, 12, 40)
    whole, cropped = RoleTransform(view, maps=maps_of(view)), RoleTransform(view, maps=maps_of(view)).of_cropped()
    assert torch.equal(cropped(panorama[..., 15:25]), whole(panorama))
    assert RoleTransform(view).of_cropped().maps is None


@pytest.mark.parametrize("name", SEMANTIC)
def test_every_semantic_augmentation_leaves_maps_alone(name):
    maps = maps_of(VIEWS["query"])
    chsg = CHSG(semantic=SEMANTIC[name](), variant="s")
    images = torch.cat([shown(maps), maps.expand(PAIRS, -1, -1, -1)], 1)
    ground, aerial, _ = chsg(images, images[:, :3, :, :12], None)
    assert torch.equal(ground[:, 3:], maps.expand(2 * PAIRS, -1, -1, -1)) and aerial.shape[1] == 3


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"Maps of images of \(12, 40\) pixels are .*not \[2, 12, 10"):
        RoleTransform(VIEWS["query"], maps=torch.zeros(2, 12, 10))
