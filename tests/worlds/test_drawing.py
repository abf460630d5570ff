"""The plan of the roads, houses beside them, and shadows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.worlds.buildings import draw_buildings
from geodtr_plugin.worlds.canvas import HEIGHT_STEP, Canvas, Kind
from geodtr_plugin.worlds.ground import draw_ground
from geodtr_plugin.worlds.light import cast_shadows, towards
from geodtr_plugin.worlds.lots import place_lots
from geodtr_plugin.worlds.noise import grain, smooth_noise
from geodtr_plugin.worlds.streets import plan_streets
from geodtr_plugin.worlds.styles import get_style


def test_distances_to_straight_roads_are_those_of_geometry():
    canvas = Canvas(200.0, 0.5)
    style = replace(get_style("downtown").streets, dropped=0.0)
    streets = plan_streets(canvas, style, np.random.default_rng(0))
    frame = streets.frame
    x, y = np.meshgrid(canvas.x, canvas.y)
    nearest = np.full((canvas.n, canvas.n), np.inf)
    for roads, (a, b) in zip(streets.families, ((frame.cos, frame.sin), (-frame.sin, frame.cos))):
        for centre, half in zip(roads.centres, roads.half_widths):
            nearest = np.minimum(nearest, np.abs(a * x + b * y - centre) - half)
    on_road = nearest < 0
    # farther off, the road with the nearest middle counts, which may not be the one with the nearest edge
    np.testing.assert_allclose(streets.edge[on_road], nearest[on_road], atol=1e-3)
    assert (streets.edge[~on_road] > -1e-3).all() and 0.1 < on_road.mean() < 0.6


def test_plan_coordinates_lead_back_to_their_place():
    canvas = Canvas(300.0, 0.5)
    streets = plan_streets(canvas, get_style("suburb").streets, np.random.default_rng(1))
    rows, columns = np.random.default_rng(2).integers(100, 500, (2, 50))
    u, v = (roads.coordinate[rows, columns] for roads in streets.families)
    x, y = streets.frame.to_metres(canvas, u, v)
    assert np.abs(x - canvas.x[columns]).max() < 1.0 and np.abs(y - canvas.y[rows]).max() < 1.0


@pytest.mark.parametrize("style", ("suburb", "downtown", "country", "oldtown"))
def test_houses_stand_beside_roads_and_face_them(style):
    style, canvas, rng = get_style(style), Canvas(300.0, 0.5), np.random.default_rng(3)
    streets = plan_streets(canvas, style.streets, rng)
    ground = draw_ground(canvas, streets, style, rng, rng)
    lots = place_lots(canvas, streets, ground.blocks, style, rng)
    facades = draw_buildings(canvas, lots, style.houses, (0.0, -1.0), style.land.walk, rng)
    built = canvas.kind == Kind.BUILDING
    assert built.any() and (streets.edge[built] >= 0.4).all()
    assert np.array_equal(np.unique(canvas.building[built]), np.arange(1, len(facades)))
    assert (canvas.height[built] * HEIGHT_STEP > facades[canvas.building[built], 0] - 0.3).all()
    area = np.bincount(canvas.building[built])[1:] * canvas.cell**2
    least = 0.6 * style.houses.width[0] * style.houses.depth[0]  # an L keeps two thirds
    assert area.min() > least  # no house is built over another
    step = np.stack([lots.x, lots.y]) + 2 * lots.across.T
    before, after = (streets.edge[canvas.index(y), canvas.index(x)] for x, y in ((lots.x, lots.y), step))
    assert (after > before).mean() > 0.7  # away from its own road, unless another is nearer


@settings(deadline=None, max_examples=15)
@given(st.floats(0, 360), st.floats(25, 60), st.integers(8, 60))
def test_a_pole_casts_a_shadow_away_from_the_sun(azimuth, elevation, steps):
    cell, n = 0.5, 201
    height = np.zeros((n, n), np.uint8)
    height[99:102, 99:102] = steps
    rows, columns = np.nonzero(cast_shadows(height, cell, azimuth, elevation))
    length = steps * HEIGHT_STEP / math.tan(math.radians(elevation))
    east, south = towards(azimuth)
    away = -(east * (columns - 100) + south * (rows - 100)) * cell
    aside = (south * (columns - 100) - east * (rows - 100)) * cell
    assert np.abs(aside).max() < 3.0
    assert away.min() > -1.5 and abs(away.max() - length) < 0.15 * length + 2.5


def test_noise_is_the_same_field_at_every_resolution():
    coarse, fine = (smooth_noise(np.random.default_rng(0), 120.0, n, 20.0) for n in (60, 180))
    np.testing.assert_allclose(fine[1::3, 1::3], coarse, atol=1e-4)
    assert abs(coarse.std() - 1) < 0.5
    white = grain(np.random.default_rng(0), 200)
    assert abs(white.mean()) < 0.02 and abs(white.std() - 1) < 0.02
