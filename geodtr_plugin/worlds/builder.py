"""Draws a scene from a style and a seed, step by step."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from .buildings import clear_lots, draw_buildings
from .cameras import MARGIN, choose_cameras
from .canvas import Canvas
from .cars import draw_cars
from .crowns import Trees
from .furniture import dig_up_roads, put_up_poles
from .ground import Ground, draw_ground
from .light import Sight, colour_aerial, colour_crowns, colour_ground, look_at, towards
from .lots import place_lots, place_sheds
from .plants import draw_hedges, draw_trees
from .scene import Scene
from .streets import Streets, plan_streets
from .styles import Look, Style, get_style

SCENE_SIZE = 504.0  # metres along a side
CELL = 0.375  # metres: two cells make one pixel of a 96-pixel tile of 72 m
TRANSIENT = 0.25  # share of the cars that only one of the two cameras sees, each
_SUN_SPREAD = 12.0  # degrees by which the sun wanders from scene to scene
_STEPS = (
    "streets", "ground", "lots", "buildings", "plants", "cars", "sun", "cameras", "more plants", "roads",
    "sheds", "changes", "traffic", "furniture",
)  # fmt: skip
_SOLID = ("height", "kind", "building", "facade_place", "facade_light")  # rasters of the canvas that a scene keeps


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
        transient: share of the cars that only the ground camera sees, and again that only the aerial camera sees;
            below TRANSIENT, there is less, too, of what else comes and goes.

    Raises:
        UnknownNameError: there is no such style.
        ValueError: the scene has no room for the cameras.
    """
    style = _passing(get_style(style) if isinstance(style, str) else style, min(1.0, transient / TRANSIENT))
    if size < 2 * margin + 40:
        raise ValueError(f"A scene of {size} m has no room for cameras, which keep {margin} m from its edge.")
    # one stream of random numbers for each step: a change in one step leaves the others as they were
    root = np.random.SeedSequence([zlib.crc32(style.name.encode()), seed])
    rngs = dict(zip(_STEPS, map(np.random.default_rng, root.spawn(len(_STEPS)))))
    canvas = Canvas(size, cell)
    azimuth = (style.light.sun_azimuth + _SUN_SPREAD * rngs["sun"].standard_normal()) % 360
    streets = plan_streets(canvas, style.streets, rngs["streets"])
    ground, trees, facades, above = _furnish(canvas, streets, style, azimuth, rngs)
    parked, passing = (_of_day(rngs[step], style.streets.day) for step in ("cars", "traffic"))
    draw_cars(canvas, above, streets, ground, style.streets, transient, parked, passing)
    if style.streets.works:
        dig_up_roads(canvas, streets, style.streets.works, rngs["furniture"])
    count = style.cameras if cameras is None else cameras
    places = choose_cameras(canvas, streets, count, rngs["cameras"], margin)
    rasters = {name: getattr(canvas, name) for name in _SOLID}
    rasters |= _take_pictures(canvas, above, ground, trees, style, azimuth)
    return Scene(style, seed, cell, azimuth, facades=facades, cameras=places, **rasters)


def _passing(style: Style, share: float) -> Style:
    """Return the style with a share of all that is there for one camera only, parked cars aside."""
    streets = replace(style.streets, traffic=style.streets.traffic * share, works=round(style.streets.works * share))
    return replace(style, streets=streets, changes=style.changes * share)


def _of_day(rng: np.random.Generator, day: int) -> np.random.Generator:
    """Return the random numbers of what is elsewhere on another day; those of day 0 are the step's own."""
    return rng.spawn(day)[-1] if day else rng


def _furnish(
    canvas: Canvas, streets: Streets, style: Style, azimuth: float, rngs: dict[str, np.random.Generator]
) -> tuple[Ground, Trees, np.ndarray, Canvas]:
    """Draw ground, houses and plants.

    Returns:
        Ground, trees, the building table, float32 `[B, 12]`, and the canvas of what the aerial camera sees, cars aside.
    """
    ground = draw_ground(canvas, streets, style, rngs["ground"], rngs["roads"])
    lots = place_lots(canvas, streets, ground.blocks, style, rngs["lots"])
    before = canvas.fork("material", "shade") if style.changes else canvas
    sun, walk = towards(azimuth), style.land.walk
    facades = draw_buildings(canvas, lots, style.houses, sun, walk, rngs["buildings"])
    if style.houses.sheds:
        sheds = place_sheds(canvas, lots, style.houses.sheds, rngs["sheds"])
        small = replace(style.houses, storeys=(1, 1), towers=0.0, gabled=0.6, setback=(0.0, 0.0))  # without driveways
        facades = draw_buildings(canvas, sheds, small, sun, walk, rngs["sheds"], facades)
    draw_hedges(canvas, streets, ground, style, rngs["plants"], rngs["furniture"])
    trees = draw_trees(canvas, streets, style, rngs["plants"], rngs["more plants"])
    if style.streets.poles:
        put_up_poles(canvas, streets, style.streets, rngs["furniture"])
    if not style.changes:
        return ground, trees, facades, canvas.fork("material")
    above = canvas.fork("material", "shade", "height", "kind", "building", "roof")
    seen = rngs["changes"].random(len(facades))
    clear_lots(above, before, seen < style.changes)
    clear_lots(canvas, before, seen > 1 - style.changes)
    return ground, trees, facades, above


def _take_pictures(
    canvas: Canvas, above: Canvas, ground: Ground, trees: Trees, style: Style, azimuth: float
) -> dict[str, np.ndarray]:
    """Return the rasters of a scene that depend on season and light: those of its ground look and the aerial one's."""

    def look(at: Canvas, look: Look, azimuth: float, seen: np.ndarray) -> tuple[Sight, np.ndarray]:
        sight = look_at(at, trees, ground, style.plants, seen, look, azimuth)
        return sight, colour_crowns(at, trees, ground, sight)

    sight, crowns = look(canvas, style.look, azimuth, trees.fate[:, 3] >= style.changes)
    sight_above, crowns_above = sight, crowns
    if style.above is not None:
        seen = trees.fate[:, 3] < 1 - style.changes
        sight_above, crowns_above = look(above, style.above, style.above.light.sun_azimuth, seen)
    base, canopy = np.zeros_like(canvas.canopy_base), np.zeros((canvas.n, canvas.n, 3), np.uint8)
    base.ravel()[sight.crowns.place], canopy.reshape(-1, 3)[sight.crowns.place] = sight.crowns.base, crowns
    return {
        "aerial": colour_aerial(above, ground, sight_above, crowns_above),
        "ground": colour_ground(canvas, ground, sight),
        "canopy_top": sight.canopy_top,
        "canopy_base": base,
        "canopy": canopy,
        "surface": np.maximum(above.height, sight_above.canopy_top),
    }
