"""Layout simulation against the world itself: turning pictures equals rendering the turned scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geodtr_plugin.augmentations import LayoutSimulation, PolarTransform
from geodtr_plugin.worlds import PanoramaCamera, make_scene, render_aerial

STYLES = ("suburb", "downtown", "country")


@pytest.fixture(scope="module", params=STYLES)
def scene(request):
    return make_scene(request.param, seed=3, cameras=2)


def pair(scene, width: int, camera: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Panorama [1, 3, H, W] and tile [1, 3, 96, 96], uint8."""
    place = scene.cameras[camera]
    pictures = PanoramaCamera(32, width).render(scene, place), render_aerial(scene, place, 96)
    return tuple(torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None] for p in pictures)


@pytest.mark.parametrize("width", [176, 512])
def test_all_eight_layouts_equal_the_turned_world_exactly(scene, width):
    ground, aerial = pair(scene, width)
    for layout in range(8):
        expected = pair(scene.turned(turns=layout % 4, flip=layout >= 4), width)
        turned = LayoutSimulation()(ground, aerial, [layout])
        assert torch.equal(turned[0], expected[0]) and torch.equal(turned[1], expected[1]), f"layout {layout}"
        if layout:
            assert not torch.equal(turned[0], ground) and not torch.equal(turned[1], aerial)


def test_at_671_columns_layouts_agree_within_one_column(scene):
    ground, aerial = pair(scene, 671)
    for layout in range(8):
        expected, tile = pair(scene.turned(turns=layout % 4, flip=layout >= 4), 671)
        turned, turned_tile, _ = LayoutSimulation()(ground, aerial, [layout])
        assert torch.equal(turned_tile, tile)
        errors = [(turned.roll(s, -1).float() - expected.float()).abs().mean().item() for s in range(-5, 6)]
        assert abs(int(np.argmin(errors)) - 5) <= 1, f"layout {layout}"


def test_a_wrong_turn_is_noticed(scene):
    ground, aerial = pair(scene, 176)
    right = LayoutSimulation()(ground, aerial, [1])[0]
    wrong = LayoutSimulation()(ground, aerial, [3])[0]
    off_by_one = right.roll(1, -1)
    assert (right.float() - wrong.float()).abs().mean() > 10
    assert (right.float() - off_by_one.float()).abs().mean() > 1


@pytest.mark.parametrize("style", STYLES)
def test_the_polar_transform_looks_where_the_panorama_looks(style):
    """The ground in the panorama and in the unrolled tile are most alike when neither is shifted.

    Rows are matched by distance: a polar row looks at a fixed radius, a panorama row below the horizon at eye height
    over the tangent of its depression.
    """
    scene, width = make_scene(style, seed=4, cameras=24), 176
    camera = PanoramaCamera(64, width)
    agreement = torch.zeros(width)
    for place in range(len(scene.cameras)):
        _, aerial = pair(scene, width, place)
        ground = torch.from_numpy(camera.render(scene, scene.cameras[place])).permute(2, 0, 1)[None]
        unrolled = PolarTransform(96, width)(aerial)
        rows = torch.arange(48, 64)  # 14 to 29 degrees below the horizon: the ground from 4 to 8 metres
        depression = torch.deg2rad((rows + 0.5) * 65.5 / 64 - 36)  # a panorama reaches from 36 to -29.5 degrees
        metres = 2.0 / torch.tan(depression)
        matching = unrolled[..., (95 - 96 * metres / 36).round().long(), :]  # the tile reaches 36 m to each side
        a, b = (standardised(x) for x in (ground[..., rows, :].float(), matching))
        agreement += torch.stack([(a * b.roll(shift, -1)).mean() for shift in range(width)])
    best = int(agreement.argmax())
    assert min(best, width - best) <= 2, f"they agree best at a shift of {best} of {width} columns"
    assert agreement[best] > 2 * agreement[width // 4].abs()


def standardised(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(dim=(-1, -2), keepdim=True)) / x.std(dim=(-1, -2), keepdim=True)
