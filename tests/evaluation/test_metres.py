"""Errors in metres, against the great-circle formula written out, and against a plane."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.evaluation.metres import RADIUS, displaced, errors_in_metres, summarise_errors


def great_circle(one, other):
    """By the law of cosines, as VIGOR's code has it, in plain numbers."""
    (a, b), (c, d) = (map(math.radians, place) for place in (one, other))
    return 6_371_004 * math.acos(min(1, math.sin(a) * math.sin(c) + math.cos(a) * math.cos(c) * math.cos(b - d)))


@settings(deadline=None, max_examples=50)
@given(st.floats(-60, 60), st.floats(-170, 170), st.floats(0.002, 0.5), st.floats(0, 6.28))
def test_distances_on_the_globe_are_great_circles(lat, lon, degrees, towards):
    other = lat + degrees * math.cos(towards), lon + degrees * math.sin(towards)
    found = errors_in_metres(np.array([[lat, lon]]), np.array([other]), "latlon")[0]
    assert found == pytest.approx(great_circle((lat, lon), other), rel=1e-4)  # arccos itself loses digits here


def test_distances_on_a_plane():
    assert errors_in_metres(np.array([[3.0, 4.0]]), np.zeros((1, 2)), "metres").tolist() == [5.0]


def test_a_place_in_a_tile_lies_where_its_offset_says():
    centres, sides = np.array([[100.0, 50.0]]), np.array([72.0])
    assert displaced(centres, "metres", np.array([[0.25, 0.5]]), sides).tolist() == [[136.0, 32.0]]  # east, south
    for lat in (0.0, 40.7, -61.0):
        centre = np.array([[lat, -74.0]])
        for offset, metres in (([0.25, 0], 18.0), ([0, -0.5], 36.0), ([0.3, 0.4], 36.0)):
            place = displaced(centre, "latlon", np.array([offset]), sides)
            assert errors_in_metres(place, centre, "latlon")[0] == pytest.approx(metres, rel=1e-4)
        south = displaced(centre, "latlon", np.array([[0.5, 0.0]]), sides)[0]
        west = displaced(centre, "latlon", np.array([[0.0, -0.5]]), sides)[0]
        assert south[0] < lat and south[1] == -74 and west[0] == lat and west[1] < -74


def test_one_pixel_of_vigor_is_its_unit():
    """Their code turns (320 * 0.114 m) of latitude into degrees by the arc of the same sphere."""
    unit = math.degrees(320 * 0.114 / 6_371_004)
    place = displaced(np.array([[41.0, 2.0]]), "latlon", np.array([[-0.5, 0.0]]), np.array([640 * 0.114]))
    assert place[0, 0] - 41.0 == pytest.approx(unit, rel=1e-6) and RADIUS == 6_371_004


def test_shares_are_of_errors_below_and_what_is_unknown_is_left_out():
    scores = summarise_errors(np.array([1.0, 5.0, 9.0, 60.0, np.nan]), "_with_offset")
    assert scores == {
        "median_metres_with_offset": 7.0, "below_5_metres_with_offset": 25.0, "below_10_metres_with_offset": 75.0,
        "below_25_metres_with_offset": 75.0, "below_50_metres_with_offset": 75.0,
    }  # fmt: skip
    assert summarise_errors(np.array([np.nan])) == {}
