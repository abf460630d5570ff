"""The plane, the grid of tiles, and the order in which they are cut: properties, and other libraries' numbers."""

from __future__ import annotations

import mercantile
import numpy as np
import pytest
from grounds import moved, offset

from geodtr_plugin.search.area import Area
from geodtr_plugin.search.tile_sources.grid import grid_places, in_walking_order
from geodtr_plugin.search.tile_sources.mercator import latitude_of, metres_a_pixel, plane_a_metre, to_plane
from geodtr_plugin.search.tile_sources.options import TileOptions
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.geo import to_metres

PLACES = np.array([(48.137, 11.575), (-33.86, 151.21), (0.0, 0.0), (-16.8, 179.9999), (69.65, -18.96), (84.9, -179.9)])


def box(place, metres):
    (south, west), (north, east) = moved(place, np.array([-metres] * 2)), moved(place, np.array([metres] * 2))
    return np.array([[south, west, north, east]])


def test_the_plane_is_that_of_mercantile():
    for (lat, lon), point in zip(PLACES, to_plane(PLACES)):
        tile = mercantile.tile(lon, lat, 19)
        assert tuple(np.floor(point * 2**19).astype(int)) == (tile.x, tile.y)
        bounds = mercantile.bounds(tile)
        assert latitude_of(tile.y / 2**19) == pytest.approx(bounds.north, abs=1e-10)


def test_a_metre_is_one_on_the_ellipsoid():
    for lat, lon in PLACES[:-1]:
        for axis, move in enumerate(((1.0, 0.0), (0.0, 1.0))):
            step = to_plane(moved((lat, lon), np.array(move))[None]) - to_plane(np.array([(lat, lon)]))
            assert abs(step[0, axis]) == pytest.approx(plane_a_metre(lat)[axis], rel=1e-5)
    assert metres_a_pixel(0.0, 19, 256) == pytest.approx(0.2986, rel=0.004)  # the table of the OpenStreetMap wiki


@pytest.mark.parametrize("place", map(tuple, PLACES))
@pytest.mark.parametrize("step", [17.5, 36.0])
def test_no_place_is_farther_from_a_centre_than_half_a_step_each_way(place, step):
    places = grid_places(box(place, 300), step)
    draw = np.random.default_rng(0).uniform(-250, 250, (500, 2))
    metres = offset(places, place)
    away = np.abs(draw[:, None] - metres[None])
    nearest = away.max(axis=2).min(axis=1)
    assert nearest.max() <= step / 2 * 1.007  # the grid is that of a sphere
    apart = np.abs(metres[:, None] - metres[None]).max(axis=2) + 1e9 * np.eye(len(metres))
    assert apart.min() > 0.9 * step * 0.5 and len(places) == pytest.approx((600 / step) ** 2, rel=0.15)


@pytest.mark.parametrize("place", map(tuple, PLACES))
def test_parts_of_an_area_share_no_tile_and_leave_no_gap(place):
    whole = box(place, 200)
    south, west, north, east = whole[0]
    lat, lon = south + 0.37 * (north - south), west + 0.61 * (east - west)
    southern = [(south, west, lat, lon), (south, lon, lat, east)]
    northern = [(lat, west, north, lon), (lat, lon, north, east)]
    parts = np.array(southern + northern)
    wanted = grid_places(whole, 30)
    assert len(wanted) > 50
    np.testing.assert_array_equal(grid_places(parts, 30), wanted)
    assert sum(len(grid_places(part[None], 30)) for part in parts) == len(wanted)
    np.testing.assert_array_equal(grid_places(np.concatenate([parts, whole]), 30), wanted)
    np.testing.assert_array_equal(grid_places(whole + [0, 360, 0, 360], 30), wanted)  # the same, counted on


def test_the_date_line_is_no_border():
    places = grid_places(box((-16.8, 180.0), 100), 20)
    east = offset(places, (-16.8, 180.0))[:, 0]
    assert (places[:, 1] < 0).any() and (places[:, 1] > 0).any()
    for row in np.unique(places[:, 0]):
        np.testing.assert_allclose(np.diff(np.sort(east[places[:, 0] == row])), 20, rtol=0.01)


def test_too_many_tiles_are_refused_before_they_take_memory():
    with pytest.raises(UserError, match="There would be .* tiles. Choose larger tiles"):
        grid_places(np.array([[-80.0, -180.0, 80.0, 180.0]]), 35)


def test_walking_order_goes_strip_by_strip_and_row_by_row():
    places = in_walking_order(grid_places(box((-16.8, 180.0), 500), 50), 300)
    metres = offset(places, (-16.8, 180.0))
    back = np.flatnonzero(np.diff(metres[:, 1]) > 1)  # a new strip begins in the north
    assert len(back) == 3
    for strip in np.split(metres, back + 1):
        assert np.ptp(strip[:, 0]) <= 301
        assert (np.diff(strip[:, 1]) <= 1e-6).all()
    assert len(np.unique(places, axis=0)) == len(places)


def test_an_area_is_a_circle():
    places = grid_places(box((48.0, 11.0), 500), 25)
    near = Area(48.0, 11.0, 300).holds(places)
    metres = np.linalg.norm(to_metres(places, "latlon") - to_metres(np.array([(48.0, 11.0)]), "latlon"), axis=1)
    np.testing.assert_array_equal(near, metres <= 300)
    assert Area(-48.0, 11.0, 3e7).holds(places).all()


def test_options_say_what_they_want():
    assert Area.parse(" 48.1, -11.5,2.5 km") == Area(48.1, -11.5, 2500) and TileOptions(70, 0.75).step == 17.5
    for options, sentence in (
        ((1,), "--tile-metres is 1; it must be from 5"), ((70, 0.99), "--overlap is 0.99"),
        ((70, 0.5, 40), "--zoom is 40"), ((70, 0.5, None, "48,11"), "Give latitude, longitude and a radius"),
        ((float("nan"),), "--tile-metres is nan"),
        ((70, 0.5, None, "98,11,5km"), "--area is '98,11,5km'"), ((70, 0.5, None, "1.2.3,1,5km"), "--area"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            TileOptions(*options)
