"""Draws a scene from a style and a seed, step by step."""

from __future__ import annotations

import zlib

import numpy as np

from .buildings import draw_buildings
from .cameras import MARGIN, choose_cameras
from .canvas import Canvas
from .cars import draw_cars
from .ground import draw_ground
from .light import colour, towards
from .lots import place_lots
from .plants import draw_hedges, draw_trees
from .scene import RASTERS, Scene
from .streets import Streets, plan_streets
from .styles import Style, get_style

SCENE_SIZE = 504.0  # metres along a side
CELL = 0.375  # metres: two cells make one pixel of a 96-pixel tile of 72 m
TRANSIENT = 0.25  # share of the cars that only one of the two cameras sees, each
_SUN_SPREAD = 12.0  # degrees by which the sun wanders from scene to scene
_STEPS = ("streets", "ground", "lots", "buildings", "plants", "cars", "sun", "cameras")


def make_scene(
    style: str | Style,
    seed: int,
    *,
    size: float = SCENE_SIZE,
    cell: float = CELL,
    margin: float = MARGIN,
    cameras: int | None = None,
    transient: float = TRANSIENT,
) -> Scene:
    """Draw a scene, which is a function of the arguments alone.

    Args:
        style: name of a world (see `list_worlds`) or a `Style`.
        seed: any number that is not negative; every seed is another place.
        size: metres along a side.
        cell: metres along a raster cell.
        margin: metres that every camera keeps from the edge.
        cameras: places to choose on the roads; the style's number if None.
        transient: share of the cars that only the ground camera sees, and again that only the aerial camera sees.

    Raises:
        UnknownNameError: there is no such style.
        ValueError: the scene has no room for the cameras.
    """
    style = get_style(style) if isinstance(style, str) else style
    if size < 2 * margin + 40:
        raise ValueError(f"A scene of {size} m has no room for cameras, which keep {margin} m from its edge.")
    # one stream of random numbers for each step: a change in one step leaves the others as they were
    root = np.random.SeedSequence([zlib.crc32(style.name.encode()), seed])
    rngs = dict(zip(_STEPS, map(np.random.default_rng, root.spawn(len(_STEPS)))))
    canvas = Canvas(size, cell)
    azimuth = (style.light.sun_azimuth + _SUN_SPREAD * rngs["sun"].standard_normal()) % 360
    streets = plan_streets(canvas, style.streets, rngs["streets"])
    facades = _furnish(canvas, streets, style, azimuth, rngs)
    from_above = draw_cars(canvas, streets, style.streets.cars, transient, rngs["cars"])
    aerial, ground = colour(canvas, from_above, style.light, azimuth)
    count = style.cameras if cameras is None else cameras
    places = choose_cameras(canvas, streets, count, rngs["cameras"], margin)
    rasters = {name: getattr(canvas, name) for name in RASTERS if name not in ("aerial", "ground")}
    return Scene(style, seed, cell, azimuth, aerial, ground, facades=facades, cameras=places, **rasters)


def _furnish(
    canvas: Canvas, streets: Streets, style: Style, azimuth: float, rngs: dict[str, np.random.Generator]
) -> np.ndarray:
    """Draw ground, houses and plants; return the building table, float32 `[B, 12]`."""
    sun = towards(azimuth)
    ground = draw_ground(canvas, streets, style, rngs["ground"])
    lots = place_lots(canvas, streets, ground.blocks, style, rngs["lots"])
    facades = draw_buildings(canvas, lots, style.houses, sun, style.land.walk, rngs["buildings"])
    draw_hedges(canvas, streets, ground, style, rngs["plants"])
    draw_trees(canvas, streets, ground, style, sun, rngs["plants"])
    return facades
