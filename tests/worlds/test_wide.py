"""Wide worlds: exact geometry for every mount and size of tile, captures that vary, tiles that stay in their scene."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.worlds import PanoramaCamera, World, WorldSpec, list_worlds, make_scene, render_aerial
from geodtr_plugin.worlds import spec as spec_module
from geodtr_plugin.worlds.aerial import render_turned_aerial
from geodtr_plugin.worlds.cameras import NoRoomError
from geodtr_plugin.worlds.shoot import WideShoot
from geodtr_plugin.worlds.spans import WIDE
from geodtr_plugin.worlds.wide_capture import draw_stitch, highest_rise, metered, stitch

SMALL = {"panorama_size": (16, 32), "aerial_size": 48}
SPAN = st.tuples(st.floats(20, 60), st.floats(-60, -15), st.floats(1.2, 3.5))


def wide(style: str = "suburb", split: str = "test", count: int = 3, **options) -> WorldSpec:
    return WorldSpec(style, split, count, wide=True, **{**SMALL, **options})


def rendered(spec: WorldSpec, number: int = 0) -> dict[str, np.ndarray]:
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in spec.arrays().items()}
    spec.render_scene(number, arrays)
    return arrays


@pytest.fixture(scope="module")
def scene():
    return make_scene("suburb", 3, size=320.0, cell=0.5, cameras=2)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 3), st.booleans(), SPAN)
def test_every_mount_turns_with_the_scene(scene, turns, flip, mount):
    camera = PanoramaCamera(24, 48, 2, *mount, ratio=1.03)
    turned = scene.turned(turns, flip)
    before = camera.render(scene, scene.cameras[0])
    expected = np.roll(before[:, ::-1] if flip else before, turns * 12, axis=1)
    assert np.array_equal(camera.render(turned, turned.cameras[0]), expected)


@pytest.mark.parametrize("layout", range(8))
def test_a_wide_scene_turns_with_its_pictures(layout):
    spec = wide("country", realism=0.0)
    shoot, scene = spec.shoot(0), spec.draw_scene(0)
    turned = scene.turned(layout % 4, flip=layout >= 4)
    for before, after in zip(scene.cameras[:2], turned.cameras):
        one, other = shoot.panorama(scene, before, 0)[0], shoot.panorama(turned, after, 0)[0]
        assert np.array_equal(other, np.roll(one[:, ::-1] if layout >= 4 else one, layout % 4 * 8, axis=1))
        one, other = shoot.tile(scene, before, 0), shoot.tile(turned, after, 0)
        assert np.array_equal(other, np.rot90(one[:, ::-1] if layout >= 4 else one, -(layout % 4)))


@pytest.mark.parametrize("number", (0, 1))
def test_realism_zero_is_the_scene_itself(number):
    spec = wide("suburb", "train", 31, realism=0.0)
    shoot, scene, arrays = spec.shoot(number), spec.draw_scene(number), rendered(spec, number)
    assert shoot.from_above(scene) is scene
    for query, camera in zip(spec.queries_of(number), scene.cameras):
        rig = shoot.survey.rigs[camera.sky]
        exact = PanoramaCamera(16, 32, shoot.rays, rig.up, rig.down, rig.eye, 1.03, rig.farthest)
        assert np.array_equal(arrays["query_images"][query], exact.render(scene, camera))
        tile = render_aerial(scene, camera, 48, shoot.supersample)
        assert np.array_equal(arrays["reference_images"][query], tile)
        assert scene.cell * 48 * shoot.supersample == pytest.approx(shoot.side)
        assert np.array_equal(arrays["query_positions"][query], spec.origin(number) + scene.position(camera))


def test_a_wide_world_is_loaded_like_others(tmp_path):
    world, less = (World.load(wide(count=count), tmp_path, 1, progress=False) for count in (30, 3))
    for name in ("query_images", "reference_images", "truth", "query_positions", "reference_positions"):
        assert np.array_equal(getattr(world, name)[:3], getattr(less, name))
    assert np.array_equal(world.truth[:, 0], np.arange(30)) and len(np.unique(world.reference_images, axis=0)) == 30
    assert np.array_equal(world.query_positions, world.reference_positions)
    assert world.spec.names("query")[0] == "suburb-wide-test-0-ground-000000"


def test_scenes_styles_splits_and_seeds_are_seen_by_other_cameras():
    specs = [wide(), wide("oldtown"), wide(split="train"), wide(seed=1)]
    surveys = [spec.shoot(number).survey for spec in specs for number in range(3)]
    assert len({survey.side for survey in surveys}) == len({survey.rigs for survey in surveys}) == 12
    assert wide().shoot(1).survey == wide(realism=1.0, count=99, aerial_size=96).shoot(1).survey


def test_surveys_fill_their_spans():
    surveys = [wide(count=9999).shoot(number).survey for number in range(400)]
    sides = np.array([survey.side for survey in surveys])
    assert 55 <= sides.min() < 60 and 165 < sides.max() <= 180
    assert np.median(sides) == pytest.approx(math.sqrt(55 * 180), rel=0.07)  # uniform in the logarithm
    rigs = [rig for survey in surveys for rig in survey.rigs]
    view, eye = np.array([rig.up - rig.down for rig in rigs]), np.array([rig.eye for rig in rigs])
    assert (view.min() >= 60) and (view.max() <= 96) and (eye.min() >= 1.5) and (eye.max() <= 3.2)
    assert all(0.43 <= rig.up / (rig.up - rig.down) <= 0.60 for rig in rigs) and view.std() > 9 and eye.std() > 0.4
    leans = np.array([survey.lean for survey in surveys])
    assert np.hypot(*leans.T).max() <= 0.35 and np.abs(leans.mean(axis=0)).max() < 0.03


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 999), st.sampled_from(list_worlds()), st.sampled_from((0.0, 0.5, 1.0, 2.0)), st.integers(4, 512))
def test_no_tile_can_leave_its_scene(seed, style, realism, size):
    spec = wide(style, seed=seed, realism=realism, aerial_size=size)
    shoot = spec.shoot(0)
    cells = size * shoot.supersample
    assert cells % 2 == 0 and shoot.cell * cells == pytest.approx(shoot.side) and shoot.cell <= 0.56
    turn = math.radians(realism * max(WIDE.turn))
    half = math.ceil(cells / 2 * max(WIDE.zoom) ** realism * (math.cos(turn) + math.sin(turn)))
    shift = realism * (6.0 + max(WIDE.centre) * shoot.side)
    assert half + math.ceil(shift / shoot.cell) <= shoot.margin / shoot.cell - 1
    assert shoot.margin >= max(60, 0.55 * shoot.side) + 1 and shoot.size - 2 * shoot.margin >= 165


@pytest.mark.parametrize("side", (55.0, 180.0))
def test_the_widest_errors_of_the_smallest_and_the_largest_tiles_can_be_rendered(side, monkeypatch):
    extreme = replace(
        WIDE, side=(side, side), centre=(0.02,) * 2, tilt=(3.5,) * 2, turn=(3.0,) * 2, zoom=(1.05,) * 2,
        lean=(0.35,) * 2, seam_shift=(0.6,) * 2, cap=(0.12,) * 2, capped=1.0, detail=(0.45,) * 2,
        saturation=(0.45,) * 2, quality=(40.0,) * 2, compressed=1.0,
    )  # fmt: skip
    monkeypatch.setattr("geodtr_plugin.worlds.world.WideShoot", lambda *request: WideShoot(*request, extreme))
    spec = wide(count=24, realism=2.0, panorama_size=(32, 64))
    arrays = rendered(spec)
    assert spec.shoot(0).side == pytest.approx(side)
    for role in ("query", "reference"):
        contrast = arrays[f"{role}_images"].std(axis=(1, 2, 3))
        assert (contrast > 1).mean() > 0.9 and np.median(contrast) > 6


def test_a_tile_laid_askew_is_turned_clockwise_and_to_scale(scene):
    camera = scene.cameras[0]
    straight = render_aerial(scene, camera, 36, 2)
    assert np.array_equal(render_turned_aerial(scene, camera, 36, 2, 0.0, 1.0), straight)
    assert np.array_equal(render_turned_aerial(scene, camera, 36, 2, 90.0, 1.0), np.rot90(straight, -1))
    assert np.array_equal(render_turned_aerial(scene, camera, 36, 1, 0.0, 1.0), render_aerial(scene, camera, 36, 1))
    twice = render_turned_aerial(scene, camera, 36, 2, 0.0, 2.0).astype(int)
    assert np.abs(twice[9:27, 9:27] - render_aerial(scene, camera, 18, 4)).mean() < 12
    with pytest.raises(ValueError, match="leaves the scene"):
        render_turned_aerial(scene, camera, 400, 2, 1.0, 1.0)


def test_a_tilted_camera_sees_the_horizon_rise_where_it_looks_down():
    rng, height, width, degrees = np.random.default_rng(5), 40, 72, 2.0
    only_tilt = replace(WIDE, tilt=(3.0, 3.0), seam_shift=(0.0, 0.0), seam_gain=(0.0, 0.0))
    how = draw_stitch(rng, width, 0.0, 1.0, only_tilt)
    assert highest_rise(only_tilt, 1.0) == 3.0 and np.abs(how.rise).max() == pytest.approx(3.0, abs=0.01)
    np.testing.assert_allclose(how.rise, -np.roll(how.rise, width // 2), atol=1e-9)  # up here is down there
    assert np.array_equal(how.columns, np.arange(width)) and (how.gain == 1).all()
    upright = np.zeros((height + 6, width, 3), np.uint8)
    upright[: height // 2 + 3] = 200  # the sky
    horizon = (stitch(upright, how, height, degrees)[..., 0] / 200).sum(axis=0)
    np.testing.assert_allclose(horizon, height / 2 - how.rise / degrees, atol=1e-3)


def test_exposure_makes_up_for_night_and_snow():
    rng = np.random.default_rng(0)
    night, snow = rng.integers(0, 40, (8, 9, 3), dtype=np.uint8), rng.integers(180, 256, (8, 9, 3), dtype=np.uint8)
    assert all(np.array_equal(metered(picture, 0.0), np.arange(256)) for picture in (night, snow))
    assert metered(night, 1.0)[night].mean() == pytest.approx(110, abs=3)
    assert night.mean() + 20 < metered(night, 0.5)[night].mean() < metered(snow, 0.5)[snow].mean() < snow.mean() - 20
    assert metered(np.zeros((2, 2, 3), np.uint8), 1.0)[255] == 255


def test_where_roads_have_no_room_another_scene_is_drawn(monkeypatch):
    spec, seeds = wide(), []

    def narrow(look, seed, **request):
        seeds.append(seed)
        if len(seeds) < 3:
            raise NoRoomError("no room")
        return make_scene(look, seed, **{**request, "size": 250.0, "margin": 80.0, "cameras": 1, "cell": 1.0})

    monkeypatch.setattr(spec_module, "make_scene", narrow)
    assert spec.draw_scene(0).seed == seeds[-1] and len(set(seeds)) == 3
    seeds.clear()
    monkeypatch.setattr(spec_module, "make_scene", lambda look, seed, **_: (_ for _ in ()).throw(NoRoomError("none")))
    with pytest.raises(NoRoomError, match="none"):
        spec.draw_scene(0)


def test_wide_and_offset_exclude_each_other():
    with pytest.raises(UserError, match="not both"):
        WorldSpec("suburb", "train", 5, offset=True, wide=True)
