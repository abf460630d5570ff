"""An area around a place: its circle and its box, everywhere on Earth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.search.area import Area
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.geo import EARTH_RADIUS


def at(lat, lon, bearing, metres):
    """The place so many metres from another in a direction, on the sphere."""
    angle, phi, theta = metres / EARTH_RADIUS, np.radians(lat), np.radians(bearing)
    there = np.arcsin(np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(theta))
    turn = np.arctan2(np.sin(theta) * np.sin(angle) * np.cos(phi), np.cos(angle) - np.sin(phi) * np.sin(there))
    return np.stack([np.degrees(there), (lon + np.degrees(turn) + 180) % 360 - 180], axis=-1)


def in_box(area, places):
    south, north, ranges = area.box()
    around = [(places[:, 1] >= west) & (places[:, 1] <= east) for west, east in ranges]
    return (places[:, 0] >= south) & (places[:, 0] <= north) & np.any(around, axis=0)


@settings(max_examples=40, deadline=None)
@given(st.floats(-89, 89), st.floats(-180, 180), st.floats(10, 5e6))
def test_the_box_holds_the_circle_and_not_much_more(lat, lon, metres):
    area, bearings = Area(lat, lon, metres), np.arange(0, 360, 5.0)
    inside = at(lat, lon, bearings, 0.999 * metres)
    assert area.holds(inside).all() and in_box(area, inside).all()
    assert not area.holds(at(lat, lon, bearings, 1.001 * metres)).any()
    south, north, ranges = area.box()
    if len(ranges) == 1 and ranges[0] != (-180.0, 180.0):
        limits = (south - lat, north - lat, ranges[0][0] - lon, ranges[0][1] - lon)
        near = at(lat, lon, np.arange(0, 360, 0.25), metres)
        for column, low, high in ((near[:, 0] - lat, *limits[:2]), (near[:, 1] - lon, *limits[2:])):
            assert column.min() == pytest.approx(low, rel=1e-3) and column.max() == pytest.approx(high, rel=1e-3)


def test_the_date_line_and_the_poles():
    assert [len(Area(10.0, lon, 5000).box()[2]) for lon in (0.0, 179.99, -179.99)] == [1, 2, 2]
    assert Area(10.0, 179.99, 5000).holds(np.array([(10.0, -179.99), (10.0, 179.9), (np.nan, np.nan)])).tolist() == [
        True, False, False,
    ]  # fmt: skip
    assert Area(89.999, 5.0, 5000).box()[1:] == (90.0, [(-180.0, 180.0)])


def test_its_text():
    assert str(Area.parse("48.137,11.575,5km")) == "5,000 m of 48.137, 11.575"
    with pytest.raises(UserError, match="--near with --within is '48.137,11.575,x'. Give latitude"):
        Area.parse("48.137,11.575,x", "--near with --within")
