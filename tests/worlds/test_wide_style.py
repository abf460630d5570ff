"""Wide worlds: every scene has a look of its own, its cameras may see it at different times, and turns stay exact."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.worlds import PanoramaCamera, Scene, Style, list_worlds, make_scene, render_aerial
from geodtr_plugin.worlds.canvas import HEIGHT_STEP, Kind
from geodtr_plugin.worlds.scene import RASTERS
from geodtr_plugin.worlds.styles import LightStyle, Look, SeasonStyle, get_style
from geodtr_plugin.worlds.wide_style import widen

SMALL = {"size": 340.0, "cell": 0.5, "cameras": 2}
_scenes: dict[tuple[str, int], Scene] = {}


def wide(style: str, seed: int) -> Style:
    return widen(get_style(style), np.random.default_rng(seed))


def scene_of(style: str, seed: int) -> Scene:
    if (style, seed) not in _scenes:
        _scenes[style, seed] = make_scene(wide(style, seed), seed, **SMALL)
    return _scenes[style, seed]


def suburb(**changes) -> Style:
    """A plain suburb in full sun, but for some fields of its parts, as in suburb(season={"snow": 1.0})."""
    style = get_style("suburb")
    parts = {part: replace(getattr(style, part), **values) for part, values in changes.items() if part != "above"}
    return replace(style, **parts, **({"above": changes["above"]} if "above" in changes else {}))


@settings(deadline=None, max_examples=16)
@given(
    st.sampled_from(list_worlds()), st.integers(0, 3), st.sampled_from(range(8)), st.integers(2, 40), st.integers(8, 40)
)
def test_turned_wide_world_equals_turned_pictures(style, seed, layout, quarter, height):
    scene, (turns, flip) = scene_of(style, seed), (layout % 4, layout >= 4)
    turned, camera = scene.turned(turns, flip), PanoramaCamera(height, 4 * quarter)
    before, after = camera.render(scene, scene.cameras[0]), camera.render(turned, turned.cameras[0])
    assert np.array_equal(after, np.roll(before[:, ::-1] if flip else before, turns * quarter, axis=1))
    tile, turned_tile = (render_aerial(one, one.cameras[0], 48) for one in (scene, turned))
    assert np.array_equal(turned_tile, np.rot90(tile[:, ::-1] if flip else tile, -turns))


@pytest.mark.parametrize("style", list_worlds())
def test_a_look_is_drawn_from_its_numbers_alone(style):
    assert wide(style, 1) == wide(style, 1) and wide(style, 1).name == style
    one, other = wide(style, 1), wide(style, 2)
    for part in ("streets", "land", "houses", "plants", "light", "above"):
        assert getattr(one, part) != getattr(other, part)
    assert np.array_equal(make_scene(one, 3, **SMALL).aerial, make_scene(one, 3, **SMALL).aerial)


def test_wide_looks_are_possible():
    """No field leaves the range in which it means something, whatever is drawn."""
    for seed in range(200):
        style = wide(list_worlds()[seed % 4], seed)
        assert abs(sum(style.land.blocks) - 1) < 1e-9 and min(style.land.blocks) >= 0
        assert style.streets.half_width[1] - style.streets.median[1] / 2 > 3 and style.plants.radius[0] > 0.9
        assert 5 < style.light.sun_height < 70 and style.light.sight > 20 and 0 <= style.changes < 0.5
        for season in (style.season, style.above.season):
            shares = [getattr(season, one.name) for one in fields(season) if one.name not in ("land", "leaves")]
            assert min(shares) >= 0 and max(shares) <= 1


def test_the_aerial_picture_has_a_season_and_a_light_of_its_own():
    plain = make_scene(suburb(), 5, **SMALL)
    snow = Look(SeasonStyle(snow=1.0, bare=1.0), LightStyle(sun_azimuth=20.0, sun_height=25.0))
    other = make_scene(suburb(above=snow), 5, **SMALL)
    for raster in ("ground", "canopy", "canopy_top", "canopy_base", "height", "kind"):
        assert np.array_equal(getattr(plain, raster), getattr(other, raster))
    assert other.aerial.mean() > plain.aerial.mean() + 40


def test_bare_trees_let_one_see_through():
    green, bare = (make_scene(suburb(season={"bare": share}), 5, **SMALL) for share in (0.0, 1.0))
    crowns, branches = green.canopy_top > 0, bare.canopy_top > 0
    assert not (branches & ~crowns).any() and branches.sum() < 0.6 * crowns.sum()
    assert (branches.sum() - 0.3 * crowns.sum()) > 0  # conifers keep their needles
    assert (bare.canopy_top >= bare.canopy_base).all()


def test_snow_lies_on_land_and_roofs_and_not_on_cleared_roads():
    plain, cleared, deep = (
        make_scene(suburb(season=season), 5, **SMALL) for season in ({}, {"snow": 1.0, "cleared": 1.0}, {"snow": 1.0})
    )
    road = np.zeros_like(plain.kind, bool)
    for camera in plain.cameras:  # cameras stand on the road
        road[camera.row - 2 : camera.row + 2, camera.column - 2 : camera.column + 2] = True
    road &= plain.kind == Kind.GROUND
    roof = plain.kind == Kind.BUILDING
    assert np.array_equal(plain.ground[road], cleared.ground[road])
    assert (deep.ground[road].mean(), cleared.ground[roof].mean()) > (150, 150) and plain.ground[road].mean() < 120


def test_traffic_drives_below_crowns():
    scene = make_scene(suburb(plants={"avenues": 1.0, "clearance": 4.0}, streets={"strip": 1.5}), 5, **SMALL)
    plain = make_scene(suburb(), 5, **SMALL)
    assert (scene.canopy_top > 0).sum() > (plain.canopy_top > 0).sum()
    row, column = scene.cameras[0].row, scene.cameras[0].column
    over = scene.canopy_base[row - 3 : row + 3, column - 3 : column + 3] * HEIGHT_STEP
    assert ((over == 0) | (over >= 4.0)).all()


def test_some_houses_and_trees_are_there_for_one_camera_only():
    style = replace(suburb(), changes=0.4, above=Look())
    plain, changed = make_scene(suburb(), 5, **SMALL), make_scene(style, 5, **SMALL)
    built, left = (np.unique(scene.building) for scene in (plain, changed))
    assert set(left) < set(built) and len(left) > len(built) / 3
    assert (changed.canopy_top > 0).sum() < (plain.canopy_top > 0).sum()
    assert (changed.kind[plain.building != changed.building] == Kind.GROUND).all()


def test_nothing_comes_and_goes_in_an_exact_world():
    style = replace(suburb(streets={"traffic": 0.5, "works": 3}), changes=0.4)
    plain, exact = (make_scene(one, 5, transient=0.0, **SMALL) for one in (suburb(), style))
    assert all(np.array_equal(getattr(plain, raster), getattr(exact, raster)) for raster in RASTERS)
    assert not np.array_equal(plain.kind, make_scene(style, 5, **SMALL).kind)


def test_unpaved_roads_have_no_lines():
    style = suburb(streets={"unpaved": 1.0, "main": 0.0, "cars": 0.0}, land={"gravel": (200.0, 0.0, 0.0)})
    scene = make_scene(style, 5, **SMALL)
    for camera in scene.cameras:
        near = scene.ground[camera.row - 6 : camera.row + 6, camera.column - 6 : camera.column + 6].reshape(-1, 3)
        assert (near[:, 2] < 230).all() and near[:, 0].mean() > near[:, 2].mean() + 20
