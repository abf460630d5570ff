"""The look of one scene of a wide world, drawn around that of its style: another country, season, light and year."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .look_spans import FACADES, GRASSES, GRAVELS, LEAVES, LOOKS, ROOFS, LookSpans
from .styles import Colour, HouseStyle, LandStyle, PlantStyle, Span, StreetStyle, Style
from .weather import colour, draw_aerial_look, draw_light, draw_season

_CROWN = 30.0  # square metres: scenes with larger crowns have fewer trees
_WOODS = 0.06  # trees for each square metre of a wood of density 1
_HALLS = 1.3  # halls are at least this much larger than houses


def widen(style: Style, rng: np.random.Generator, spans: LookSpans = LOOKS) -> Style:
    """Return the look of one scene, a style of the same name: its plan, in another country, season, light and year."""
    draw = _Draw(rng, spans)
    season = draw_season(rng)
    return replace(
        style,
        streets=_streets(style, draw),
        land=_land(style.land, draw),
        houses=_houses(style.houses, draw),
        plants=_plants(style.plants, draw),
        light=draw_light(rng),
        season=season,
        above=draw_aerial_look(season, rng),
        changes=draw.span(spans.changes),
    )


class _Draw:
    """Random numbers for one scene.

    Args:
        rng: their source.
        spans: what they are drawn from.
    """

    def __init__(self, rng: np.random.Generator, spans: LookSpans):
        self.rng, self.spans = rng, spans

    def span(self, span: Span) -> float:
        """Draw a number."""
        return float(self.rng.uniform(*span))

    def factor(self, span: Span) -> float:
        """Draw a factor, uniformly in its logarithm."""
        return math.exp(self.rng.uniform(*np.log(span)))

    def happens(self, share: float) -> bool:
        """Draw whether a scene is one of a share."""
        return bool(self.rng.random() < share)

    def count(self, span: tuple[int, int]) -> int:
        """Draw a whole number."""
        return int(self.rng.integers(*span, endpoint=True))

    def near(self, base: Colour, grey: float = 0.0) -> Colour:
        """Draw a colour of another brightness and hue, with a part of grey."""
        tone, hue = self.rng.standard_normal(), self.rng.standard_normal(3)
        values = np.array(base) * np.exp(self.spans.tone * tone + self.spans.hue * hue)
        return colour(np.clip(values * (1 - grey) + values.mean() * grey, 0, 255))

    def grey(self, span: Span) -> Colour:
        """Draw a grey of some brightness, slightly tinted."""
        return colour(self.rng.uniform(*span) * np.exp(0.025 * self.rng.standard_normal(3)))

    def some(self, colours: tuple[Colour, ...], count: tuple[int, int], grey: float = 0.0) -> tuple[Colour, ...]:
        """Draw a few colours, each near one of those given."""
        chosen = self.rng.choice(len(colours), self.count(count), replace=False)
        return tuple(self.near(colours[number], grey) for number in chosen)


def _streets(style: Style, draw: _Draw) -> StreetStyle:
    base, spans, city = style.streets, draw.spans, style.name == "downtown"
    bend = draw.span(spans.bend)
    walked = city or not draw.happens(spans.no_sidewalk)
    median = draw.span(spans.median) if draw.happens(spans.divided) else 0.0
    unpaved = draw.happens(spans.unpaved_country if style.name == "country" else spans.unpaved)
    plain = draw.happens(spans.plain_roads)
    return replace(
        base,
        spacing=(base.spacing[0] * draw.factor(spans.spacing), base.spacing[1] * draw.factor(spans.spacing)),
        spacing_sd=base.spacing_sd * draw.span(spans.irregular),
        dropped=draw.span(spans.dropped),
        bend=bend,
        warp=0.0 if draw.happens(spans.straight) else draw.span(spans.steepness) * bend,
        half_width=(draw.span(spans.minor), draw.span(spans.main) + median / 2),
        main=draw.span(spans.mains),
        sidewalk=draw.span(spans.city_sidewalk if city else spans.sidewalk) if walked else 0.0,
        strip=draw.span(spans.strip) if walked and draw.happens(spans.stripped) else 0.0,
        shoulder=0.0 if walked else max(0.0, draw.span(spans.shoulder)),
        crosswalks=base.crosswalks * draw.span(spans.crosswalks),
        cars=base.cars * draw.span(spans.cars),
        parked=draw.span(spans.parked),
        traffic=max(0.0, draw.span(spans.traffic)),
        poles=draw.span(spans.poles),
        works=draw.count((1, 3)) if draw.happens(spans.works) else 0,
        unpaved=draw.span(spans.unpaved_roads) if unpaved else 0.0,
        unmarked=draw.span(spans.unmarked_most if plain else spans.unmarked_few),
        white=float(draw.happens(0.5)),
        faded=draw.span(spans.faded),
        wear=draw.span(spans.wear),
        median=(0.5 * median, median),
    )


def _land(base: LandStyle, draw: _Draw) -> LandStyle:
    spans, grey = draw.spans, draw.span(draw.spans.grey)
    shares = np.array(base.blocks) * (1, 1, 1, 1, spans.water)
    shares *= np.exp(spans.blocks * draw.rng.standard_normal(len(shares)))
    return replace(
        base,
        blocks=tuple(float(share) for share in shares / shares.sum()),
        grass=draw.some(GRASSES, (1, 1), grey)[0],
        dry=draw.near(base.dry, grey),
        dryness=draw.span(spans.dryness),
        asphalt=draw.grey(spans.asphalt),
        walk=draw.near(draw.grey(spans.pale)),
        paving=draw.grey(spans.pale),
        gravel=draw.some(GRAVELS, (1, 1))[0],
        rows=draw.span(spans.rows),
        parcels=draw.span(spans.parcels),
        roughness=base.roughness * draw.factor(spans.roughness),
    )


def _houses(base: HouseStyle, draw: _Draw) -> HouseStyle:
    spans = draw.spans
    size, gap, depth, halls = (draw.span(span) for span in (spans.house, spans.gap, spans.depth, spans.halls))
    return replace(
        base,
        lot=(base.lot[0] * size * gap, base.lot[1] * size * gap),
        fill=base.fill * draw.span(spans.fill),
        setback=(base.setback[0] * draw.span(spans.near), base.setback[1] * draw.span(spans.far)),
        width=(base.width[0] * size, base.width[1] * size),
        depth=(base.depth[0] * depth, base.depth[1] * depth),
        storeys=(1, max(1, base.storeys[1] - draw.count((0, spans.lower)))),
        towers=base.towers * draw.span((0, 1)),
        gabled=base.gabled if draw.happens(spans.pitched) else draw.span((0, 1)),
        halls=halls if halls > _HALLS else 1.0,
        sheds=draw.span(spans.sheds),
        roofs=draw.some(ROOFS + base.roofs, spans.roof_colours),
        facades=draw.some(FACADES + base.facades, spans.wall_colours),
    )


def _plants(base: PlantStyle, draw: _Draw) -> PlantStyle:
    spans, low, high = draw.spans, draw.span(draw.spans.smallest), draw.span(draw.spans.largest)
    crown = math.pi * ((low + high) / 2) ** 2  # square metres
    fewer = min(1.0, _CROWN / crown)
    return replace(
        base,
        trees=base.trees * draw.factor(spans.trees) * fewer,
        forest=draw.span(spans.cover) / crown / _WOODS if draw.happens(spans.wooded) else 0.0,
        woods=draw.span(spans.woods),
        verge=draw.span(spans.verge) * fewer,
        radius=(low, high),
        colours=draw.some(LEAVES + base.colours, spans.leaf_colours, draw.span(spans.grey)),
        conifers=draw.span((0, 1)) ** spans.conifers,
        hedges=base.hedges * draw.span(spans.hedges),
        fences=draw.span(spans.fences),
        avenues=draw.span(spans.avenues) if draw.happens(spans.planted) else 0.0,
        clearance=draw.span(spans.clearance),
        thin=draw.span(spans.thin),
        stems=spans.stems,
        lumpy=draw.span(spans.lumpy),
        stretch=draw.span(spans.stretch),
        bushes=draw.span(spans.bushes),
    )
