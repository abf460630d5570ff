"""Scenes: turning them is a group, drawing them is deterministic, and what they hold makes sense."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.utils.errors import UnknownNameError
from geodtr_plugin.worlds import Camera, Scene, list_worlds, make_scene
from geodtr_plugin.worlds.cameras import MARGIN
from geodtr_plugin.worlds.canvas import Kind
from geodtr_plugin.worlds.scene import RASTERS
from geodtr_plugin.worlds.styles import get_style

TURN = st.tuples(st.integers(0, 3), st.booleans())


def random_scene(n: int = 9) -> Scene:
    rng = np.random.default_rng(0)
    layers = {name: rng.integers(0, 255, (n, n), dtype=np.uint8) for name in RASTERS}
    cameras = tuple(Camera(int(row), int(column)) for row, column in rng.integers(0, n + 1, (5, 2)))
    return Scene(get_style("suburb"), 0, 0.5, 0.0, facades=np.zeros((1, 12)), cameras=cameras, **layers)


def same(one: Scene, two: Scene) -> bool:
    rasters = all(np.array_equal(getattr(one, name), getattr(two, name)) for name in RASTERS)
    return rasters and (one.cameras, one.mirrored, one.turns) == (two.cameras, two.mirrored, two.turns)


@settings(deadline=None, max_examples=40)
@given(TURN, TURN)
def test_two_turns_are_one(first, second):
    scene = random_scene()
    both = scene.turned(*first).turned(*second)
    turns = second[0] + (-first[0] if second[1] else first[0])
    assert same(both, scene.turned(turns, flip=first[1] != second[1]))


@settings(deadline=None, max_examples=20)
@given(TURN)
def test_cameras_move_with_their_cells(turn):
    scene = random_scene()
    for before, after in zip(scene.cameras, scene.turned(*turn).cameras):
        marks = np.zeros((scene.n, scene.n), int)
        rows, columns = (slice(max(0, at - 1), at + 1) for at in (before.row, before.column))
        marks[rows, columns] = 1  # the cells around the corner
        moved = np.rot90(marks[:, ::-1] if turn[1] else marks, -turn[0])
        found = np.zeros_like(marks)
        found[max(0, after.row - 1) : after.row + 1, max(0, after.column - 1) : after.column + 1] = 1
        assert np.array_equal(moved, found)


@pytest.mark.parametrize("style", list_worlds())
def test_a_scene_is_a_function_of_style_and_seed(style):
    one, again, other = (make_scene(style, seed, size=320.0, cell=0.5, cameras=4) for seed in (1, 1, 2))
    assert same(one, again)
    assert (one.aerial != other.aerial).mean() > 0.5
    assert set(np.unique(one.kind)) >= {Kind.GROUND, Kind.BUILDING, Kind.TRUNK}
    assert len(set(one.cameras)) == 4
    for camera in one.cameras:
        assert one.height[camera.row, camera.column] == 0
        assert MARGIN <= min(one.position(camera)) and max(one.position(camera)) <= 320 - MARGIN


def test_transient_cars_are_missing_from_one_view():
    all_stay, none_stays = (
        make_scene("downtown", 4, size=320.0, cell=0.5, cameras=1, transient=transient) for transient in (0.0, 0.5)
    )
    assert np.array_equal(all_stay.building, none_stays.building)
    assert 0 < (none_stays.kind == Kind.CAR).sum() < 0.8 * (all_stay.kind == Kind.CAR).sum()
    assert (all_stay.aerial != none_stays.aerial).any()


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(UnknownNameError, match="suburb"):
        make_scene("suberb", 0)
    with pytest.raises(ValueError, match="no room"):
        make_scene("suburb", 0, size=100.0)
