"""Looks of the worlds: what stands where stays; only what is said to change does."""

from __future__ import annotations

import numpy as np
import pytest

from geodtr_plugin.utils.errors import UnknownNameError
from geodtr_plugin.worlds import LOOKS, WorldSpec, make_scene, seen_at
from geodtr_plugin.worlds.canvas import Kind
from geodtr_plugin.worlds.shoot import Shoot
from geodtr_plugin.worlds.styles import get_style

SOLID = ("height", "kind", "building", "facade_place", "facades")
SMALL = {"size": 240.0, "cell": 0.75, "cameras": 2}


def scene(look: str = ""):
    style = get_style("suburb")
    return make_scene(seen_at(style, look) if look else style, 3, **SMALL)


@pytest.fixture(scope="module")
def plain():
    return scene()


@pytest.mark.parametrize("look", [name for name, time in LOOKS.items() if not time.day])
def test_weather_and_seasons_keep_the_geometry(look, plain):
    seen = scene(look)
    assert all(np.array_equal(getattr(seen, name), getattr(plain, name)) for name in SOLID)
    assert seen.cameras == plain.cameras and seen.sun_azimuth == plain.sun_azimuth
    assert not np.array_equal(seen.ground, plain.ground)
    crowns = seen.canopy_top > 0
    assert not (crowns & (plain.canopy_top == 0)).any()  # a tree may lose leaves, and grows none


def test_on_another_day_other_cars_stand_there_and_nothing_else_is_moved(plain):
    seen = scene("other_cars")
    cars = [each.kind == Kind.CAR for each in (plain, seen)]
    assert all(each.sum() > 20 for each in cars) and (cars[0] & cars[1]).sum() < 0.5 * cars[0].sum()
    elsewhere = ~(cars[0] | cars[1])
    assert all(np.array_equal(getattr(seen, n)[elsewhere], getattr(plain, n)[elsewhere]) for n in ("height", "kind"))
    assert np.array_equal(seen.canopy, plain.canopy)


def test_years_later_some_houses_and_trees_are_gone_and_others_are_new(plain):
    later = scene("years_later")
    houses = [each.kind == Kind.BUILDING for each in (plain, later)]
    assert 0.6 * houses[0].sum() < houses[1].sum() < 0.95 * houses[0].sum()
    assert not (houses[1] & ~houses[0]).any()  # the houses that are new lack on the tiles, which are others
    assert not np.array_equal(later.aerial, plain.aerial)


@pytest.fixture
def small_scenes(monkeypatch):
    monkeypatch.setattr(Shoot, "size", 240.0)
    monkeypatch.setattr(WorldSpec, "cameras", 2)


def rendered(look: str) -> dict[str, np.ndarray]:
    spec = WorldSpec("suburb", "test", 2, (16, 32), 24, seen=look)
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in spec.arrays().items()}
    assert spec.render_scene(0, arrays) == 2
    return arrays


def test_a_world_shows_the_same_places_on_the_same_tiles(small_scenes):
    plain, night, later = map(rendered, ("", "night", "years_later"))
    for name in set(plain) - {"query_images"}:
        assert np.array_equal(night[name], plain[name])
        assert np.array_equal(later[name], plain[name]) == (name != "reference_images")
    assert night["query_images"].mean() < 0.5 * plain["query_images"].mean()


def test_worlds_without_a_look_keep_their_place_in_the_cache():
    plain, rain = (WorldSpec("suburb", "test", 5, seen=look) for look in ("", "rain"))
    assert "seen" not in plain.manifest() and plain.key() != rain.key()
    with pytest.raises(UnknownNameError, match="night"):
        WorldSpec("suburb", "test", 5, seen="nigth")
