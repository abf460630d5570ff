"""Leaning roofs: what stands moves by its height, the ground stays, and turning the scene turns it all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.worlds import Scene, make_scene
from geodtr_plugin.worlds.canvas import HEIGHT_STEP, Kind
from geodtr_plugin.worlds.leaning import leaning


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene("downtown", 3, size=240.0, cell=1.0, cameras=1)


def plain(scene: Scene, lean: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """By how many cells, and from where, what is seen at each cell was moved: the highest wins, cell by cell."""
    tall, amount = np.maximum(scene.height, scene.canopy_top) * HEIGHT_STEP, np.hypot(*lean)
    best, source = np.zeros(tall.shape, int), np.arange(tall.size).reshape(tall.shape)
    for row, column in np.argwhere(tall > 0):
        for cells in range(1, int(tall[row, column] * amount / scene.cell) + 1):
            r, c = row - round(cells * lean[1] / amount), column + round(cells * lean[0] / amount)
            if 0 <= r < scene.n and 0 <= c < scene.n and cells > best[r, c]:
                best[r, c], source[r, c] = cells, row * scene.n + column
    return best, source


@pytest.mark.parametrize("lean", [(0.3, 0.0), (0.0, -0.35), (-0.15, 0.2)])
def test_what_stands_moves_by_its_height_and_hides_what_is_behind(scene, lean):
    # every cell of a roof has a colour of its own, and walls that of the roof: what moved from where can be read
    number = np.arange(scene.n**2)
    aerial = np.stack([number % 256, number // 256 % 256, number // 65536], axis=-1).astype(np.uint8)
    marked = replace(scene, aerial=aerial.reshape(scene.n, scene.n, 3))
    seen = leaning(marked, lean).aerial
    best, source = plain(scene, lean)
    still = best == 0
    assert 0.2 < still.mean() < 0.9 and np.array_equal(seen[still], marked.aerial[still])
    steps = scene.cell / np.hypot(*lean) / HEIGHT_STEP
    tall = np.maximum(scene.height, scene.canopy_top).ravel()[source]
    top = ~still & (tall - best * steps <= steps)  # roofs, not walls
    assert top.mean() > 0.1 and np.array_equal(seen[top], aerial[source[top]])


def test_walls_have_the_colour_of_their_house(scene):
    red = scene.facades.copy()
    red[:, 6:9] = (255, 0, 0)
    walls = leaning(replace(scene, facades=red), (0.35, 0.0)).aerial.astype(int)
    before = scene.aerial.astype(int)
    assert ((walls[..., 0] > 100) & (walls[..., 1:].max(axis=2) == 0)).mean() > 0.02
    assert not ((before[..., 0] > 100) & (before[..., 1:].max(axis=2) == 0)).any()
    assert (scene.kind == Kind.BUILDING).any()


def test_straight_from_above_is_the_scene_itself(scene):
    assert leaning(scene, (0.0, 0.0)) is scene


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 3), st.booleans(), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4))
def test_it_turns_with_the_scene(scene, turns, flip, east, north):
    lean = (-east if flip else east, north)
    for _ in range(turns):  # clockwise: what went east goes south
        lean = (lean[1], -lean[0])
    after = leaning(scene.turned(turns, flip), lean)
    assert np.array_equal(after.aerial, leaning(scene, (east, north)).turned(turns, flip).aerial)
