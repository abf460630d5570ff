"""Turning the world and rendering again equals rolling, mirroring and turning the pictures; and north is north."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.worlds import Camera, PanoramaCamera, Scene, list_worlds, make_scene, render_aerial
from geodtr_plugin.worlds.buildings import Facade
from geodtr_plugin.worlds.canvas import Kind, height_steps
from geodtr_plugin.worlds.styles import get_style

LAYOUTS = range(8)
_scenes: dict[str, Scene] = {}


def small_scene(style: str) -> Scene:
    if style not in _scenes:
        _scenes[style] = make_scene(style, 3, size=320.0, cell=0.5, cameras=2)
    return _scenes[style]


def rolled(panorama: np.ndarray, layout: int) -> np.ndarray:
    """The picture operation of a layout code, written with numpy alone."""
    if layout >= 4:
        panorama = panorama[:, ::-1]
    return np.roll(panorama, round(layout % 4 * panorama.shape[1] / 4), axis=1)


def rotated(aerial: np.ndarray, layout: int) -> np.ndarray:
    return np.rot90(aerial[:, ::-1] if layout >= 4 else aerial, -(layout % 4))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("style", list_worlds())
def test_turned_world_equals_turned_pictures(style, layout):
    scene = small_scene(style)
    turned = scene.turned(layout % 4, flip=layout >= 4)
    for before, after in zip(scene.cameras, turned.cameras):
        for size in ((64, 176), (61, 336)):
            camera = PanoramaCamera(*size)
            assert np.array_equal(camera.render(turned, after), rolled(camera.render(scene, before), layout))
        assert np.array_equal(render_aerial(turned, after, 72), rotated(render_aerial(scene, before, 72), layout))


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from(list_worlds()), st.sampled_from(LAYOUTS), st.integers(2, 40), st.integers(8, 40), st.integers(1, 2)
)
def test_turned_world_is_exact_at_any_width_that_four_divides(style, layout, quarter, height, rays):
    scene = small_scene(style)
    turned = scene.turned(layout % 4, flip=layout >= 4)
    camera = PanoramaCamera(height, 4 * quarter, rays)
    before, after = camera.render(scene, scene.cameras[1]), camera.render(turned, turned.cameras[1])
    assert np.array_equal(after, rolled(before, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cvusa_width_is_exact_for_mirrors_and_within_a_column_for_turns(layout):
    scene, camera = small_scene("suburb"), PanoramaCamera(61, 671)
    turned = scene.turned(layout % 4, flip=layout >= 4)
    before = rolled(camera.render(scene, scene.cameras[0]), layout).astype(int)
    after = camera.render(turned, turned.cameras[0]).astype(int)
    errors = {shift: np.abs(after - np.roll(before, shift, axis=1)).mean() for shift in range(-4, 5)}
    assert abs(min(errors, key=errors.get)) <= 1
    if layout in (0, 4):
        assert errors[0] == 0


@pytest.mark.parametrize("width", (175, 176, 178))
def test_mirror_of_a_turned_world_is_exact_at_every_width(width):
    scene = small_scene("downtown").turned(1, flip=True)
    mirrored, camera = scene.turned(0, flip=True), PanoramaCamera(40, width)
    before, after = camera.render(scene, scene.cameras[0]), camera.render(mirrored, mirrored.cameras[0])
    assert np.array_equal(after, before[:, ::-1])


def test_wrong_operations_are_detected():
    scene, camera = small_scene("suburb"), PanoramaCamera(64, 176)
    before = camera.render(scene, scene.cameras[0]).astype(int)
    turned = scene.turned(1)
    after = camera.render(turned, turned.cameras[0]).astype(int)
    assert np.abs(after - np.roll(before, -44, axis=1)).mean() > 10  # the wrong sign
    assert np.abs(after - np.roll(before, 45, axis=1)).mean() > 2  # off by a column
    aerial, turned_aerial = (render_aerial(s, s.cameras[0], 72).astype(int) for s in (scene, turned))
    assert np.abs(turned_aerial - np.rot90(aerial, 1)).mean() > 10  # counter-clockwise


def empty_scene(cell: float = 0.25, n: int = 800) -> Scene:
    layers = {
        name: np.zeros((n, n), np.uint8)
        for name in ("height", "kind", "building", "facade_place", "canopy_top", "canopy_base", "surface")
    }
    layers |= {name: np.full((n, n, 3), 128, np.uint8) for name in ("aerial", "ground", "canopy")}
    facades = np.zeros((2, 12), np.float32)
    facades[1] = (12, 3, 0, 99, 3, 0, 255, 0, 0, 0, 0, 0)
    return Scene(
        get_style("suburb"), 0, cell, 0.0, facade_light=np.full((n, n), 200, np.uint8), facades=facades,
        cameras=(Camera(n // 2, n // 2),), **layers,
    )  # fmt: skip


def put_tower(scene: Scene, east: tuple[float, float], north: tuple[float, float]) -> None:
    """A red tower of 12 m on a rectangle given in metres from the camera."""
    middle = scene.n // 2
    rows = slice(middle - round(north[1] / scene.cell), middle - round(north[0] / scene.cell))
    columns = slice(middle + round(east[0] / scene.cell), middle + round(east[1] / scene.cell))
    scene.height[rows, columns], scene.kind[rows, columns] = height_steps(12.0), Kind.BUILDING
    scene.building[rows, columns] = 1
    scene.aerial[rows, columns] = (255, 0, 0)


def red(picture: np.ndarray) -> np.ndarray:
    values = picture.astype(int)
    return np.argwhere(values[..., 0] - values[..., 1] > 60)


@pytest.mark.parametrize(
    ("east", "north", "quarters"), [((20, 24), (-2, 2), 3), ((-2, 2), (20, 24), 2), ((-24, -20), (-2, 2), 1)]
)
def test_a_tower_stands_where_the_compass_says(east, north, quarters):
    scene, height, width = empty_scene(), 122, 672
    assert Facade.SILL == 3  # the row of `facades` above has no windows
    put_tower(scene, east, north)
    rows, columns = red(PanoramaCamera(height, width).render(scene, scene.cameras[0])).T
    degrees, pitch = 360 / width, 65.5 / height
    assert abs((columns.min() + columns.max() + 1) / 2 - quarters * width / 4) <= 1
    assert abs((columns.max() + 1 - columns.min()) / 2 * degrees - math.degrees(math.atan2(2, 20))) < degrees
    assert abs(36 - rows.min() * pitch - math.degrees(math.atan2(12 - 2, 20))) < 1.1 * pitch
    assert abs(36 - (rows.max() + 1) * pitch - math.degrees(math.atan2(-2, 20))) < 1.1 * pitch


def test_the_same_tower_in_the_tile():
    scene = empty_scene()
    put_tower(scene, (20, 24), (-2, 2))
    rows, columns = red(render_aerial(scene, scene.cameras[0], 128, 2)).T  # 64 m, half a metre for each pixel
    assert (columns.min(), columns.max() + 1) == (64 + 40, 64 + 48)
    assert (rows.min(), rows.max() + 1) == (60, 68)


def test_crowns_hide_what_is_behind_them_and_not_what_is_before():
    scene, camera = empty_scene(), PanoramaCamera(64, 176)
    put_tower(scene, (20, 24), (-2, 2))
    alone = len(red(camera.render(scene, scene.cameras[0])))
    place = scene.n // 2
    crown = np.s_[place - 20 : place + 20, place + 160 : place + 170]  # 40 m east, behind the tower
    scene.canopy_top[crown], scene.canopy_base[crown], scene.canopy[crown] = height_steps(10.0), 1, (0, 90, 0)
    assert len(red(camera.render(scene, scene.cameras[0]))) == alone
    crown = np.s_[place - 20 : place + 20, place + 40 : place + 50]  # 10 m east
    scene.canopy_top[crown], scene.canopy_base[crown], scene.canopy[crown] = height_steps(10.0), 1, (0, 90, 0)
    assert len(red(camera.render(scene, scene.cameras[0]))) < alone / 4


def test_a_camera_too_near_to_the_edge_is_refused():
    scene = small_scene("suburb")
    with pytest.raises(ValueError, match="edge"):
        PanoramaCamera(16, 32).render(scene, Camera(20, scene.n // 2))
    with pytest.raises(ValueError, match="leaves the scene"):
        render_aerial(scene, Camera(20, scene.n // 2), 72)
    with pytest.raises(ValueError, match="even number"):
        render_aerial(scene, scene.cameras[0], 71, 1)
