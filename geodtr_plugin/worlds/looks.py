"""The same places of a world at another time: by night, in snow, years later. What stands where stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .styles import LightStyle, Look, SeasonStyle, Span, Style
from .weather import FOG, LEAFLESS, LOW_SUN, NIGHT, OVERCAST, SNOWY, Season, Weather


@dataclass(frozen=True)
class Time:
    """What differs from a scene's own look; weather and season take the middle of their spans.

    Attributes:
        weather: over the panoramas; None: the scene's own.
        season: of the panoramas; None: the scene's own.
        wet: how much rain has darkened the roads, 0 to 1.
        day: of another day, other cars stand and drive there.
        changes: share of houses and trees that are gone since the tiles were taken, and again of those that are new;
            above 0 the tiles are others too.
    """

    weather: Weather | None = None
    season: Season | None = None
    wet: float = 0.0
    day: int = 0
    changes: float = 0.0


LOOKS = {
    "low_sun": Time(LOW_SUN),
    "night": Time(NIGHT),
    "rain": Time(OVERCAST, wet=1.0),
    "fog": Time(FOG),
    "snow": Time(OVERCAST, SNOWY),
    "leafless": Time(OVERCAST, LEAFLESS),
    "other_cars": Time(day=1),
    "years_later": Time(day=1, changes=0.2),
}


def seen_at(style: Style, name: str) -> Style:
    """Return a style as the ground camera sees it at one of LOOKS; the sun stands where it stood, at another height.

    Raises:
        KeyError: there is no such look.
    """
    time = LOOKS[name]
    above = style.above or Look(style.season, style.light)
    return replace(
        style,
        light=style.light if time.weather is None else _light(style.light, time.weather),
        season=replace(style.season if time.season is None else _season(style.season, time.season), wet=time.wet),
        streets=replace(style.streets, day=time.day),
        above=above if time.changes else style.above,
        changes=max(style.changes, time.changes),
    )


def _light(light: LightStyle, weather: Weather) -> LightStyle:
    spans: dict[str, Any] = {name: _middle(getattr(weather, name)) for name in ("sight", "clouds", "shadow")}
    colours: dict[str, Any] = {name: getattr(weather, name) for name in ("zenith", "horizon", "haze", "cloud", "gain")}
    return replace(light, sun_height=_middle(weather.sun), **spans, **colours)


def _season(own: SeasonStyle, season: Season) -> SeasonStyle:
    spans: dict[str, Any] = {name: _middle(getattr(season, name)) for name in ("straw", "autumn", "bare", "snow")}
    return replace(own, **spans)


def _middle(span: Span) -> float:
    return sum(span) / 2
