"""Two drives through the synthetic worlds: how the views lie to each other, and what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geodtr_plugin.datasets import facts_of, list_datasets, load_split
from geodtr_plugin.datasets.check import check_dataset
from geodtr_plugin.datasets.synthetic_ground import NAMES, alike, load_ground
from geodtr_plugin.utils.errors import UnknownNameError
from geodtr_plugin.worlds import Drives, DriveSpec, PanoramaCamera, make_scene
from geodtr_plugin.worlds.drives import PHOTOS, cut, heading, spot_near
from geodtr_plugin.worlds.hours import HOURS, at_hour
from geodtr_plugin.worlds.styles import SUBURB

SMALL = {"count": 8, "view_size": (16, 22)}


@pytest.fixture(scope="module")
def drives():
    return Drives.load(DriveSpec("suburb", "test", 8, (16, 22)), progress=False)


def test_every_style_is_registered_for_a_laptop_without_polar():
    assert set(NAMES) <= set(list_datasets()) and len(NAMES) == 4
    assert {(facts_of(name).scale, facts_of(name).centred) for name in NAMES} == {("laptop", False)}
    with pytest.raises(UnknownNameError, match="synth-suburb-ground"):
        load_ground("synth-suburbs-ground", "train")


def test_truth_is_what_a_plain_loop_says():
    index = load_split("synth-suburb-ground", "test", **SMALL)
    at, around = index.queries.coordinates, index.references.coordinates
    right = [[j for j, r in enumerate(around) if np.sqrt(((q - r) ** 2).sum()) <= 10] for q in at]
    assert [index.truth.positives[i].tolist() for i in range(8)] == right
    assert all(set(range(PHOTOS * i, PHOTOS * i + PHOTOS)) <= set(right[i]) for i in range(8))  # its own place is right
    assert (len(index.references), index.ks, index.centred) == (8 * PHOTOS, (1, 5, 10, 20), False)
    assert index.exclusion_radius is None and index.queries.coordinate_kind == "metres"
    assert load_split("synth-suburb-ground", "train", **SMALL).exclusion_radius == 25


def test_pairs_look_the_same_way(drives):
    index = load_split("synth-suburb-ground", "test", **SMALL)
    for query, reference in index.pairs:
        apart = abs((drives.query_headings[query] - drives.reference_headings[reference] + 180) % 360 - 180)
        assert reference // PHOTOS == query and apart <= 180 / PHOTOS + 3  # a column is 4 degrees wide


def test_the_second_drive_passes_within_8_m(drives):
    apart = np.linalg.norm(drives.query_positions - drives.reference_positions[::PHOTOS], axis=1)
    cell = DriveSpec("suburb", "test", 8).cell
    assert (apart > 1 - cell).all() and (apart < 8 + cell).all() and apart.std() > 0.5
    headings = np.sort(np.asarray(drives.reference_headings[:PHOTOS]))
    np.testing.assert_allclose(np.diff(headings), 60, atol=4.1)


def test_the_spot_is_in_plain_sight():
    scene = make_scene("downtown", 3)
    for number, camera in enumerate(scene.cameras[:20]):
        spot = spot_near(scene, camera, np.random.default_rng(number))
        ends = (camera.row, spot.row), (camera.column, spot.column)
        rows, columns = (np.rint(np.linspace(*both, 100)).astype(int) for both in ends)
        assert spot == camera or not scene.height[rows, columns].any()


def test_a_view_is_cut_where_its_heading_says():
    scene = make_scene("suburb", 1)
    panorama = PanoramaCamera(16, 88).render(scene, scene.cameras[0])
    assert heading(33, 22, 88) == 0 and np.array_equal(cut(panorama, 33, 22), panorama[:, 33:55])  # the middle: north
    assert heading(55, 22, 88) == 90 and heading(77, 22, 88) == 180 and heading(11, 22, 88) == 270
    across = np.concatenate([panorama[:, 77:], panorama[:, :11]], axis=1)
    assert np.array_equal(cut(panorama, 77, 22), across)


def test_the_hour_changes_the_light_and_not_the_place():
    day, dusk = (make_scene(style, 5) for style in (SUBURB, at_hour(SUBURB, HOURS[1], 1.0)))
    assert np.array_equal(day.facades[:, :1], dusk.facades[:, :1]) and np.array_equal(day.canopy_top, dusk.canopy_top)
    assert (day.kind == 3).sum() > (dusk.kind == 3).sum() > 0  # cars
    assert np.array_equal(day.kind == 1, dusk.kind == 1) and not np.array_equal(day.ground, dusk.ground)
    assert (HOURS[1].develop(np.full((256, 3), 200, np.uint8))[0] == [170, 144, 128]).all()


def test_the_two_views_of_a_pair_show_the_same_directions():
    """Turned by the difference of their headings, they resemble each other more than other places' views do."""
    drives = Drives.load(DriveSpec("suburb", "test", 40, (16, 22)), progress=False)
    pairs = alike(drives)
    shifts = np.rint(((drives.query_headings - drives.reference_headings[pairs[:, 1]] + 180) % 360 - 180) / 90 * 22)

    def resemblance(query: int, reference: int, shift: int) -> float:
        both = [views[4:13].mean(2) for views in (drives.query_images[query], drives.reference_images[reference])]
        width = 22 - abs(shift)
        own = both[0][:, max(-shift, 0) :][:, :width], both[1][:, max(shift, 0) :][:, :width]
        return float(np.corrcoef(own[0].ravel(), own[1].ravel())[0, 1])

    def mean(step: int, sign: int = 1) -> float:
        others = np.roll(pairs[:, 1], step)
        return float(np.mean([resemblance(q, r, sign * int(s)) for q, r, s in zip(pairs[:, 0], others, shifts)]))

    assert mean(0) > max(mean(1), mean(2), mean(3)) + 0.1
    assert mean(0) > mean(0, sign=-1) + 0.05  # turned the wrong way


def test_drives_are_the_same_for_every_count_worker_and_run(drives, tmp_path):
    again = Drives.load(DriveSpec("suburb", "test", 4, (16, 22)), tmp_path, workers=1, progress=False)
    for name in ("query_images", "query_positions", "query_headings"):
        assert np.array_equal(getattr(again, name), getattr(drives, name)[:4])
    assert np.array_equal(again.reference_images, drives.reference_images[: 4 * PHOTOS])
    folder = next((tmp_path / "worlds").iterdir())
    changed = [path.stat().st_mtime_ns for path in sorted(folder.iterdir())]
    Drives.load(DriveSpec("suburb", "test", 4, (16, 22)), tmp_path, workers=1, progress=False)
    assert changed == [path.stat().st_mtime_ns for path in sorted(Path(folder).iterdir())]  # from the cache


def test_processes_render_the_same(tmp_path):
    specs = [DriveSpec("country", "test", count, (8, 12)) for count in (58, 2)]
    many, few = (Drives.load(spec, tmp_path, workers=2, progress=False) for spec in specs)
    assert many.spec.scenes == 2 and many.query_images[56:].std() > 10  # those of the second scene and process
    assert np.array_equal(many.query_images[:2], few.query_images)
    assert np.array_equal(many.reference_images[: 2 * PHOTOS], few.reference_images)


def test_train_and_test_share_no_ground():
    train, test = (load_split("synth-suburb-ground", split, **SMALL) for split in ("train", "test"))
    assert np.abs(train.references.coordinates[:, None] - test.references.coordinates[None]).max(axis=2).min() > 1000
    assert not np.array_equal(train.references.array, test.references.array)
    assert train.fingerprint() != test.fingerprint()


def test_the_check_finds_all_sound():
    report = check_dataset("synth-suburb-ground", **SMALL).report
    assert report.sound, report.lines()
