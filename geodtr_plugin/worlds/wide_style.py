"""The look of one scene of a wide world, drawn around that of its style: another country, season, light and year."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .styles import Colour, HouseStyle, LandStyle, PlantStyle, Span, StreetStyle, Style
from .wide_weather import colour, draw_aerial_look, draw_light, draw_season

# what the materials of the real world look like; a scene draws some and strays from them
_ROOFS = (
    (150, 75, 60), (185, 105, 75), (110, 90, 80), (95, 95, 100), (70, 68, 70), (130, 125, 120), (175, 172, 168),
    (205, 205, 200), (120, 80, 65), (95, 110, 100), (165, 150, 130),
)  # fmt: skip
_FACADES = (
    (230, 228, 220), (225, 210, 185), (200, 175, 150), (165, 85, 65), (140, 95, 75), (175, 130, 105), (165, 175, 185),
    (190, 190, 185), (215, 200, 140), (120, 115, 110), (150, 165, 150),
)  # fmt: skip
_GRAVELS = ((165, 150, 125), (150, 122, 96), (182, 118, 88), (190, 182, 165), (140, 135, 128))
_GRASS = ((95, 125, 60), (105, 118, 65), (80, 108, 52), (120, 128, 75), (142, 136, 85), (88, 112, 66))
_LEAVES = ((55, 90, 40), (75, 100, 50), (45, 70, 40), (85, 100, 65), (95, 110, 60), (60, 80, 55), (100, 100, 70))

# spans are drawn uniformly, factors uniformly in their logarithm
TONE = 0.16  # spread of the logarithm of a colour's brightness
HUE = 0.035  # spread of the logarithm of each of its channels
GREY = (0.0, 0.45)  # share of grey that is mixed into a scene's greens
ASPHALT = (58.0, 185.0)  # brightness of asphalt: fresh to bleached, or concrete
PALE = (95.0, 215.0)  # brightness of sidewalks and paved yards
SPACING = (0.75, 1.4)  # factor on the distance between roads, drawn for each of the plan's directions
DROPPED = (0.05, 0.5)
STEEPEST = 0.17  # the plan's bends, as a share of their wavelength
BEND = (120.0, 330.0)
MINOR, MAIN = (2.6, 4.6), (3.6, 6.6)  # half the width of roads
MAINS = (0.05, 0.4)  # share of main roads
NO_SIDEWALK = 0.4  # share of scenes without (cities aside)
STRIP = (0.0, 4.0)
SHOULDERS, SHOULDER = 0.4, (0.3, 2.2)  # share of scenes with, and their width
UNPAVED = {"country": 0.4}  # share of scenes with unpaved roads, 0.08 in other styles
UNMARKED = 0.5  # share of scenes where most roads have no lines
FADED = (0.0, 0.7)
WEAR = (0.0, 0.13)
MEDIANS, MEDIAN = 0.3, (1.5, 6.0)  # share of scenes with divided roads, and the widest median
POLES, WORKS = (0.0, 0.8), 0.15  # share of roads with poles; of scenes with road works
PARKED, TRAFFIC = (0.0, 0.4), (0.0, 0.1)
SHEDS, HALLS = (0.0, 0.7), (1.3, 3.0)
ROWS, PARCELS = (0.0, 0.1), (0.0, 0.16)
LUMPY, FENCES = (0.0, 0.3), (0.0, 1.0)
BLOCKS, WATER = 0.8, 0.5  # spread of the logarithm of the blocks' shares; factor on the share of water
TREES = (0.35, 3.0)  # factor on the scattered trees
WOODED, WOODS, COVER = 0.5, (-0.5, 1.3), (0.4, 1.4)  # share of scenes with woods; threshold; crowns above each place
THINNEST, WIDEST = (1.0, 2.2), (2.8, 6.2)  # radii of the smallest and the largest crowns
AVENUES = 0.35  # share of scenes with avenues
CLEARANCE = (3.6, 5.0)
THIN, STEMS = (0.0, 0.5), 0.6
STRETCH = (0.65, 1.5)
BUSHES = (0.0, 0.012)
CHANGES = (0.0, 0.12)


def widen(style: Style, rng: np.random.Generator) -> Style:
    """Return the look of one scene, a style of the same name: its plan, in another country, season, light and year."""
    light, season = draw_light(rng), draw_season(rng)
    return replace(
        style,
        streets=_streets(style, rng),
        land=_land(style.land, rng),
        houses=_houses(style.houses, rng),
        plants=_plants(style.plants, rng),
        light=light,
        season=season,
        above=draw_aerial_look(light, season, rng),
        changes=rng.uniform(*CHANGES),
    )


def factor(span: Span, rng: np.random.Generator) -> float:
    """Draw a factor, uniformly in its logarithm."""
    return math.exp(rng.uniform(*np.log(span)))


def stray(base: Colour, rng: np.random.Generator, grey: float = 0.0) -> Colour:
    """Return a colour of another brightness and hue, with a share of grey."""
    values = np.array(base) * np.exp(TONE * rng.standard_normal() + HUE * rng.standard_normal(3))
    values = np.clip(values * (1 - grey) + values.mean() * grey, 0, 255)
    return colour(values)


def _grey(span: Span, rng: np.random.Generator) -> Colour:
    """Draw a grey of some brightness, slightly tinted."""
    return colour(rng.uniform(*span) * np.exp(0.025 * rng.standard_normal(3)))


def _some(colours: tuple[Colour, ...], count: int, rng: np.random.Generator, grey: float = 0.0) -> tuple[Colour, ...]:
    return tuple(stray(colours[number], rng, grey) for number in rng.choice(len(colours), count, replace=False))


def _streets(style: Style, rng: np.random.Generator) -> StreetStyle:
    base, city = style.streets, style.name == "downtown"
    bend = rng.uniform(*BEND)
    sidewalk = 0.0 if not city and rng.random() < NO_SIDEWALK else rng.uniform(1.0, 3.5 if city else 2.4)
    median = rng.uniform(*MEDIAN) if rng.random() < MEDIANS else 0.0
    unpaved = rng.uniform(0.3, 1.0) if rng.random() < UNPAVED.get(style.name, 0.08) else 0.0
    main = rng.uniform(*MAIN) + median / 2
    return replace(
        base,
        spacing=(base.spacing[0] * factor(SPACING, rng), base.spacing[1] * factor(SPACING, rng)),
        spacing_sd=base.spacing_sd * rng.uniform(0.5, 1.6),
        dropped=rng.uniform(*DROPPED),
        bend=bend,
        warp=0.0 if rng.random() < 0.25 else rng.uniform(0.02, STEEPEST) * bend,
        half_width=(rng.uniform(*MINOR), main),
        main=rng.uniform(*MAINS),
        sidewalk=sidewalk,
        strip=rng.uniform(*STRIP) if sidewalk and rng.random() < 0.6 else 0.0,
        shoulder=rng.uniform(*SHOULDER) if not sidewalk and rng.random() < SHOULDERS / NO_SIDEWALK else 0.0,
        crosswalks=base.crosswalks * rng.uniform(0, 1),
        cars=rng.uniform(0.0, 1.3 * base.cars),
        poles=rng.uniform(*POLES),
        works=int(rng.integers(1, 4)) if rng.random() < WORKS else 0,
        parked=rng.uniform(*PARKED),
        traffic=rng.uniform(*TRAFFIC) if rng.random() < 0.6 else 0.0,
        unpaved=unpaved,
        unmarked=rng.uniform(0.7, 1.0) if rng.random() < UNMARKED else rng.uniform(0.0, 0.4),
        white=float(rng.random() < 0.5),
        faded=rng.uniform(*FADED),
        wear=rng.uniform(*WEAR),
        median=(0.5 * median, median),
    )


def _land(base: LandStyle, rng: np.random.Generator) -> LandStyle:
    grey = rng.uniform(*GREY)
    shares = np.array(base.blocks) * (1, 1, 1, 1, WATER) * np.exp(BLOCKS * rng.standard_normal(len(base.blocks)))
    return replace(
        base,
        blocks=tuple(float(share) for share in shares / shares.sum()),
        grass=stray(_GRASS[rng.integers(len(_GRASS))], rng, grey),
        dry=stray(base.dry, rng, grey),
        dryness=rng.uniform(0.0, 0.7),
        asphalt=_grey(ASPHALT, rng),
        walk=stray(_grey(PALE, rng), rng),
        paving=_grey(PALE, rng),
        gravel=stray(_GRAVELS[rng.integers(len(_GRAVELS))], rng),
        rows=rng.uniform(*ROWS),
        parcels=rng.uniform(*PARCELS),
        roughness=base.roughness * factor((0.5, 1.8), rng),
    )


def _houses(base: HouseStyle, rng: np.random.Generator) -> HouseStyle:
    size = rng.uniform(0.85, 1.3)
    near, far = base.setback
    return replace(
        base,
        lot=tuple(one * size * rng.uniform(0.95, 1.4) for one in base.lot),
        fill=base.fill * rng.uniform(0.45, 1.0),
        setback=(near * rng.uniform(0.6, 1.6), far * rng.uniform(1.6, 2.2)),
        width=tuple(one * size for one in base.width),
        depth=tuple(one * rng.uniform(0.9, 1.2) for one in base.depth),
        storeys=(1, max(1, base.storeys[1] - int(rng.integers(0, 3)))),
        towers=base.towers * rng.uniform(0, 1),
        gabled=base.gabled if rng.random() < 0.7 else rng.uniform(0, 1),
        halls=factor(HALLS, rng) if rng.random() < 0.6 else 1.0,
        sheds=rng.uniform(*SHEDS),
        roofs=_some(_ROOFS + base.roofs, int(rng.integers(2, 6)), rng),
        facades=_some(_FACADES + base.facades, int(rng.integers(2, 7)), rng),
    )


def _plants(base: PlantStyle, rng: np.random.Generator) -> PlantStyle:
    low, high = rng.uniform(*THINNEST), rng.uniform(*WIDEST)
    grey, wooded = rng.uniform(*GREY), rng.random() < WOODED
    crown = math.pi * ((low + high) / 2) ** 2  # square metres
    return replace(
        base,
        trees=base.trees * factor(TREES, rng) * min(1.0, 30 / crown),
        forest=rng.uniform(*COVER) / crown / 0.06 if wooded else 0.0,
        woods=rng.uniform(*WOODS),
        verge=rng.uniform(0.0, 0.6) * min(1.0, 30 / crown),
        radius=(low, high),
        colours=_some(_LEAVES + base.colours, int(rng.integers(2, 5)), rng, grey),
        conifers=rng.random() ** 3,
        hedges=base.hedges * rng.uniform(0.0, 1.0),
        avenues=rng.uniform(0.2, 1.0) if rng.random() < AVENUES else 0.0,
        clearance=rng.uniform(*CLEARANCE),
        stems=STEMS,
        lumpy=rng.uniform(*LUMPY),
        fences=rng.uniform(*FENCES),
        thin=rng.uniform(*THIN),
        stretch=rng.uniform(*STRETCH),
        bushes=rng.uniform(*BUSHES),
    )
