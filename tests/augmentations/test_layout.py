"""Layout simulation: the laws of the group of the square, exactness, one layout for both images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.augmentations import LayoutSimulation, PolarTransform, compose_layouts, inverse_layout
from geodtr_plugin.augmentations import layout as layout_module
from geodtr_plugin.utils.errors import UserError

codes = st.integers(0, 7)
widths = st.one_of(st.integers(1, 40), st.just(671))
dtypes = st.sampled_from([torch.uint8, torch.float16])
quick = settings(deadline=None, max_examples=40)


def images(n: int, height: int, width: int, dtype=torch.uint8, seed: int = 0) -> torch.Tensor:
    values = torch.randint(0, 200, (n, 3, height, width), generator=torch.Generator().manual_seed(seed))
    return values.to(dtype)


def by_hand(ground: torch.Tensor, aerial: torch.Tensor, code: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition: an east-west mirror, then clockwise quarter turns."""
    if code >= 4:
        ground, aerial = ground.flip(-1), aerial.flip(-1)
    turns = code % 4
    return ground.roll(round(turns * ground.shape[-1] / 4), -1), aerial.rot90(-turns, (-2, -1))


@quick
@given(widths, st.integers(1, 12), st.lists(codes, min_size=1, max_size=9), dtypes)
def test_every_row_is_flipped_rolled_and_turned_by_its_own_layout(width, size, layout, dtype):
    ground, aerial = images(len(layout), 2, width, dtype), images(len(layout), size, size, dtype, seed=1)
    new_ground, new_aerial, returned = LayoutSimulation()(ground, aerial, layout)
    assert new_ground.dtype == new_aerial.dtype == dtype and returned.tolist() == layout
    for row, code in enumerate(layout):
        expected = by_hand(ground[row], aerial[row], code)
        assert torch.equal(new_ground[row], expected[0]) and torch.equal(new_aerial[row], expected[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.float64])
def test_keeps_every_dtype(dtype):
    ground, aerial = images(8, 2, 9, dtype), images(8, 5, 5, dtype)
    simulation = LayoutSimulation()
    turned = simulation(ground, aerial)
    assert turned[0].dtype == turned[1].dtype == dtype
    restored = simulation.undo(*turned)
    assert torch.equal(restored[0], ground) and torch.equal(restored[1], aerial)


@quick
@given(widths, st.integers(1, 12), codes, st.booleans())
def test_undo_returns_the_exact_input_at_any_width(width, size, code, polar):
    ground = images(1, 2, width)
    aerial = images(1, 3, width + 2) if polar else images(1, size, size)
    simulation = LayoutSimulation(polar=polar)
    restored = simulation.undo(*simulation(ground, aerial, [code]))
    assert torch.equal(restored[0], ground) and torch.equal(restored[1], aerial)


@quick
@given(widths, codes)
def test_the_inverse_layout_restores_but_for_the_half_turn_of_an_odd_width(width, code):
    simulation = LayoutSimulation()
    ground, aerial = images(1, 1, width), images(1, 4, 4)
    turned = simulation(ground, aerial, [code])
    restored = simulation(*turned[:2], inverse_layout(turned[2]))
    assert torch.equal(restored[1], aerial)
    shift = 2 * round(width / 2) - width if code == 2 else 0
    assert torch.equal(restored[0], ground.roll(shift, -1)) and abs(shift) <= 1


@quick
@given(codes, codes, codes)
def test_layouts_form_a_group(a, b, c):
    a, b, c = torch.tensor([a]), torch.tensor([b]), torch.tensor([c])
    compose, inverse, identity = compose_layouts, inverse_layout, torch.tensor([0])
    assert torch.equal(compose(compose(a, b), c), compose(a, compose(b, c)))
    assert torch.equal(compose(a, identity), a) and torch.equal(compose(identity, a), a)
    assert torch.equal(compose(a, inverse(a)), identity) and torch.equal(compose(inverse(a), a), identity)
    assert 0 <= compose(a, b).item() <= 7


@quick
@given(codes, codes, st.integers(1, 8).map(lambda quarter: 4 * quarter))
def test_compose_is_one_after_the_other(first, second, width):
    simulation = LayoutSimulation()
    ground, aerial = images(1, 2, width), images(1, 5, 5)
    in_turn = simulation(*simulation(ground, aerial, [first])[:2], [second])
    at_once = simulation(ground, aerial, compose_layouts(torch.tensor([first]), torch.tensor([second])))
    assert torch.equal(in_turn[0], at_once[0]) and torch.equal(in_turn[1], at_once[1])


@pytest.mark.parametrize("code", range(8))
def test_ground_and_aerial_turn_together(code):
    """A panorama that is the polar map of its tile stays so, within a column."""
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(3))
    aerial = torch.nn.functional.interpolate(coarse, (257, 257), mode="bicubic")
    polar = PolarTransform(64, 320)
    ground, turned, _ = LayoutSimulation()(polar(aerial), aerial, [code])
    error = {shift: (ground.roll(shift, -1) - polar(turned)).abs().mean().item() for shift in range(-160, 160)}
    assert abs(min(error, key=error.get)) <= 1
    assert error[0] < 0.1 * max(error.values())


def test_a_polar_tile_moves_as_the_panorama_does():
    ground = images(8, 4, 671)
    new_ground, new_aerial, _ = LayoutSimulation(polar=True)(ground, ground.clone(), torch.arange(8))
    assert torch.equal(new_ground, new_aerial) and not torch.equal(new_ground, ground)


def test_rolls_of_the_papers_width():
    ground = torch.arange(671).expand(4, 1, 1, 671)
    turned, _, _ = LayoutSimulation()(ground, torch.zeros(4, 1, 2, 2), [0, 1, 2, 3])
    # the column that was first is now at round(k W / 4)
    assert turned.flatten(1).argmin(1).tolist() == [0, 168, 336, 503]


def test_draws_are_uniform_over_what_the_strength_allows():
    generator = torch.Generator().manual_seed(0)
    for strength, allowed in (("strong", range(8)), ("weak", (0, 4)), ("none", (0,))):
        counts = LayoutSimulation(strength=strength).sample(4000, generator=generator).bincount(minlength=8)
        assert counts.nonzero()[:, 0].tolist() == list(allowed)
        assert (counts[counts > 0] - 4000 / len(allowed)).abs().max() < 130


@quick
@given(st.lists(codes, min_size=1, max_size=30), st.integers(0, 99))
def test_excluded_layouts_are_not_drawn(exclude, seed):
    exclude = torch.tensor(exclude)
    drawn = LayoutSimulation().sample(len(exclude), generator=torch.Generator().manual_seed(seed), exclude=exclude)
    assert (drawn != exclude).all() and ((0 <= drawn) & (drawn <= 7)).all()


def test_excluding_leaves_the_others_equally_likely():
    drawn = LayoutSimulation().sample(7000, generator=torch.Generator().manual_seed(0), exclude=3)
    counts = drawn.bincount(minlength=8)
    assert counts[3] == 0 and (counts[[0, 1, 2, 4, 5, 6, 7]] - 1000).abs().max() < 130
    with pytest.raises(ValueError, match="excluded"):
        LayoutSimulation(strength="none").sample(2, exclude=0)


def test_seeded_by_a_generator_or_globally():
    ground, aerial = images(16, 2, 8), images(16, 4, 4)
    runs = []
    for _ in range(2):
        torch.manual_seed(5)
        own = LayoutSimulation(generator=torch.Generator().manual_seed(6))
        runs.append((LayoutSimulation()(ground, aerial)[2], own(ground, aerial)[2], own(ground, aerial)[2]))
    assert all(torch.equal(a, b) for a, b in zip(*runs))
    assert not torch.equal(runs[0][1], runs[0][2])


@pytest.mark.parametrize(
    "ground, aerial, layout, words",
    [
        (images(2, 4, 8), images(2, 4, 8), None, "polar=True"),
        (images(2, 4, 8), images(3, 4, 4), None, "2 and 3"),
        (images(2, 4, 8), images(2, 4, 4), [0, 8], "0..7"),
        (images(2, 4, 8), images(2, 4, 4), [0, -1], "0..7"),
        (images(2, 4, 8), images(2, 4, 4), [0], "each of the 2"),
        (images(2, 4, 8), images(2, 4, 4), [0.0, 1.0], "whole number"),
    ],
)
def test_refuses_what_it_cannot_turn(ground, aerial, layout, words):
    with pytest.raises(ValueError, match=words):
        LayoutSimulation()(ground, aerial, layout)


def test_an_unknown_strength_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="Did you mean 'strong'"):
        LayoutSimulation(strength="stron")


@pytest.mark.parametrize("width", [8, 11, 671])
@pytest.mark.parametrize("undo", [False, True])
def test_the_way_of_a_gpu_equals_that_of_a_cpu(width, undo):
    """A GPU turns the batch in one gather, a CPU image by image."""
    images, layout = torch.rand(8, 3, 4, width), torch.arange(8)
    expected = layout_module.turn_panoramas(images, layout, undo)
    assert torch.equal(layout_module._gathered_panoramas(images, layout, undo), expected)
    tiles = torch.rand(8, 3, width, width)
    numbers = inverse_layout(layout) if undo else layout
    assert torch.equal(layout_module._gathered_tiles(tiles, numbers), layout_module.turn_tiles(tiles, layout, undo))
