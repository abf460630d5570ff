"""Two drives through a world: how their photos lie to each other, and what an hour changes."""

from __future__ import annotations

import numpy as np
import pytest

from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.worlds import Drives, DriveSpec, PanoramaCamera, make_scene
from geodtr_plugin.worlds.builder import CELL
from geodtr_plugin.worlds.drives import PHOTOS, cut, heading, spot_near
from geodtr_plugin.worlds.hours import DUSK, at_hour
from geodtr_plugin.worlds.styles import SUBURB


@pytest.fixture(scope="module")
def drives():
    return Drives.load(DriveSpec("suburb", "test", 8, (16, 22)), progress=False)


def test_the_second_drive_passes_within_8_m(drives):
    difference = np.linalg.norm(drives.query_positions - drives.reference_positions[::PHOTOS], axis=1)
    assert (difference > 1 - CELL).all() and (difference < 8 + CELL).all() and difference.std() > 0.5
    headings = np.sort(np.asarray(drives.reference_headings[:PHOTOS]))
    np.testing.assert_allclose(np.diff(headings), 60, atol=4.1)


def test_the_spot_is_in_plain_sight():
    scene = make_scene("downtown", 3)
    for number, camera in enumerate(scene.cameras[:20]):
        spot = spot_near(scene, camera, np.random.default_rng(number))
        ends = (camera.row, spot.row), (camera.column, spot.column)
        rows, columns = (np.rint(np.linspace(*both, 100)).astype(int) for both in ends)
        assert spot == camera or not scene.height[rows, columns].any()


def test_a_photo_is_cut_where_its_heading_says():
    scene = make_scene("suburb", 1)
    panorama = PanoramaCamera(16, 88).render(scene, scene.cameras[0])
    assert heading(33, 22, 88) == 0 and np.array_equal(cut(panorama, 33, 22), panorama[:, 33:55])  # the middle: north
    assert heading(55, 22, 88) == 90 and heading(77, 22, 88) == 180 and heading(11, 22, 88) == 270
    across = np.concatenate([panorama[:, 77:], panorama[:, :11]], axis=1)
    assert np.array_equal(cut(panorama, 77, 22), across)


def test_the_hour_changes_the_light_and_not_the_place():
    day, dusk = (make_scene(style, 5) for style in (SUBURB, at_hour(SUBURB, DUSK, 1.0)))
    assert np.array_equal(day.facades[:, :1], dusk.facades[:, :1]) and np.array_equal(day.canopy_top, dusk.canopy_top)
    assert (day.kind == 3).sum() > (dusk.kind == 3).sum() > 0  # cars
    assert np.array_equal(day.kind == 1, dusk.kind == 1) and not np.array_equal(day.ground, dusk.ground)
    assert (DUSK.develop(np.full((256, 3), 200, np.uint8))[0] == [170, 144, 128]).all()


def test_drives_are_the_same_for_every_count_worker_and_run(drives, tmp_path):
    again = Drives.load(DriveSpec("suburb", "test", 4, (16, 22)), tmp_path, workers=1, progress=False)
    for name in ("query_images", "query_positions", "query_headings"):
        assert np.array_equal(getattr(again, name), getattr(drives, name)[:4])
    assert np.array_equal(again.reference_images, drives.reference_images[: 4 * PHOTOS])
    folder = next((tmp_path / "worlds").iterdir())
    changed = [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    Drives.load(DriveSpec("suburb", "test", 4, (16, 22)), tmp_path, workers=1, progress=False)
    assert changed == [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]  # from the cache


@pytest.mark.slow
def test_processes_render_the_same(tmp_path):
    specs = [DriveSpec("country", "test", count, (8, 12)) for count in (58, 2)]
    many, few = (Drives.load(spec, tmp_path, workers=2, progress=False) for spec in specs)
    assert many.spec.scenes == 2 and many.query_images[56:].std() > 10  # those of the second scene and process
    assert np.array_equal(many.query_images[:2], few.query_images)
    assert np.array_equal(many.reference_images[: 2 * PHOTOS], few.reference_images)


@pytest.mark.parametrize("size", [(3, 22), (16, 0), (16,)])
def test_impossible_photos_are_refused(size):
    with pytest.raises(UserError, match="photos"):
        DriveSpec("suburb", "test", 8, size)
