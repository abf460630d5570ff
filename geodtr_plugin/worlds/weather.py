"""Seasons and weather of the wide worlds, and the other day on which the aerial picture was taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .styles import Colour, LightStyle, Look, SeasonStyle, Span

DAY: Span = (20.0, 65.0)  # height of the sun, degrees


@dataclass(frozen=True)
class Season:
    """A time of the year; spans of the fields of `SeasonStyle`.

    Attributes:
        share: of the scenes that get it.
        share_above: of the aerial pictures of another season than the scene's.
    """

    share: float
    share_above: float
    straw: Span = (0.0, 0.0)
    autumn: Span = (0.0, 0.0)
    bare: Span = (0.0, 0.0)
    snow: Span = (0.0, 0.0)


@dataclass(frozen=True)
class Weather:
    """A weather and time of the day; colours and spans of the fields of `LightStyle`.

    Attributes:
        share: of the scenes that get it.
        brightness: spread of the logarithm of the light's brightness.
    """

    share: float
    zenith: Colour
    horizon: Colour
    haze: Colour
    gain: Colour
    brightness: float
    sight: Span
    sun: Span = DAY
    clouds: Span = (0.0, 0.75)
    shadow: Span = (0.35, 0.68)

    @property
    def cloud(self) -> Colour:
        """Colour of the clouds, which the light colours less than the land."""
        return colour(np.array(LightStyle().cloud) * min(1.0, 1.2 * max(self.gain)))


# fmt: off
SEASONS = LUSH, DRY, AUTUMN, LEAFLESS, SNOWY = (
    Season(0.34, 0.44, straw=(0.0, 0.25)),  # lush
    Season(0.20, 0.24, straw=(0.3, 0.95)),  # dry
    Season(0.18, 0.14, straw=(0.0, 0.5), autumn=(0.2, 1.0), bare=(0.0, 0.4)),  # autumn
    Season(0.18, 0.15, straw=(0.2, 0.9), autumn=(0.0, 0.3), bare=(0.5, 1.0)),  # leafless
    Season(0.10, 0.03, straw=(0.3, 0.9), bare=(0.7, 1.0), snow=(0.3, 1.0)),  # aerial pictures of snow are rare
)
CLEARED = (0.3, 0.7, 1.0)  # see SeasonStyle.cleared; one of them is drawn
RAIN, WET = 0.15, (0.3, 1.0)  # share of scenes after rain, and how wet they are
WEATHERS = CLEAR, LOW_SUN, OVERCAST, FOG, DUSK, NIGHT = (
    # clear
    Weather(0.47, (85, 140, 215), (205, 222, 240), (205, 215, 228), (1.0, 1.0, 1.0), 0.12, sight=(150.0, 500.0)),
    # a low sun
    Weather(0.15, (110, 145, 200), (245, 220, 185), (226, 208, 192), (1.06, 0.96, 0.82), 0.12, sight=(120.0, 350.0),
            sun=(8.0, 22.0)),
    # overcast
    Weather(0.25, (175, 180, 188), (222, 222, 224), (214, 215, 217), (0.90, 0.92, 0.95), 0.12, sight=(110.0, 350.0),
            clouds=(0.85, 1.0), shadow=(0.0, 0.15)),
    # haze and fog
    Weather(0.07, (185, 192, 200), (222, 222, 220), (212, 212, 210), (0.92, 0.93, 0.95), 0.10, sight=(35.0, 80.0),
            clouds=(0.85, 1.0), shadow=(0.0, 0.15)),
    # dusk
    Weather(0.045, (80, 90, 140), (235, 165, 125), (165, 140, 138), (0.68, 0.60, 0.62), 0.20, sight=(100.0, 250.0),
            sun=(8.0, 22.0)),
    # night
    Weather(0.015, (14, 16, 30), (45, 42, 50), (30, 30, 38), (0.20, 0.18, 0.20), 0.30, sight=(60.0, 150.0),
            clouds=(0.0, 0.3), shadow=(0.0, 0.15)),
)
# fmt: on
HILLY, HILLS, PLAINS = 0.4, (1.5, 7.0), (0.2, 1.5)  # share of scenes among hills; heights of the skyline, degrees
WOODED, TREELINE = 0.65, (0.5, 4.5)  # share of scenes with trees on the horizon, and their height, degrees
NEAR = 0.045  # spread of the logarithms of the channels of a sky's colours
SHIFT = 0.04  # and of those that a season multiplies grass and leaves by
SAME_SEASON = 0.45  # share of the scenes whose aerial picture is of the same season
SHADOW_ABOVE: Span = (0.2, 0.7)
TINT, GAMMA = 0.04, 0.2  # spread of the logarithms of the aerial camera's gain, and of its gamma


def draw_season(rng: np.random.Generator, above: bool = False) -> SeasonStyle:
    """Draw what the time of the year makes of a scene, or of an aerial picture of another day."""
    shares = [season.share_above if above else season.share for season in SEASONS]
    season = SEASONS[rng.choice(len(SEASONS), p=shares)]
    return SeasonStyle(
        land=_tint(SHIFT, rng),
        leaves=_tint(SHIFT, rng),
        straw=rng.uniform(*season.straw),
        autumn=rng.uniform(*season.autumn),
        bare=rng.uniform(*season.bare),
        snow=rng.uniform(*season.snow),
        cleared=CLEARED[rng.integers(len(CLEARED))],
        wet=rng.uniform(*WET) if rng.random() < RAIN and not above else 0.0,
    )


def draw_light(rng: np.random.Generator) -> LightStyle:
    """Draw the weather and the time of the day over the ground camera."""
    weather = WEATHERS[rng.choice(len(WEATHERS), p=[weather.share for weather in WEATHERS])]
    zenith, horizon, haze = (_near(base, rng) for base in (weather.zenith, weather.horizon, weather.haze))
    return LightStyle(
        sun_azimuth=rng.uniform(0, 360),
        sun_height=rng.uniform(*weather.sun),
        zenith=zenith,
        horizon=horizon,
        haze=haze,
        sight=rng.uniform(*weather.sight),
        clouds=rng.uniform(*weather.clouds),
        cloud=weather.cloud,
        hills=rng.uniform(*(HILLS if rng.random() < HILLY else PLAINS)),
        treeline=rng.uniform(*TREELINE) if rng.random() < WOODED else 0.0,
        shadow=rng.uniform(*weather.shadow),
        gain=colour(np.array(weather.gain) * np.exp(weather.brightness * rng.standard_normal()) * _tint(0.02, rng)),
    )


def draw_aerial_look(season: SeasonStyle, rng: np.random.Generator) -> Look:
    """Draw the day on which the aerial picture was taken: a clear one, of the scene's season or of any other."""
    same = rng.random() < SAME_SEASON * (1 - season.snow)
    seen = season if same else draw_season(rng, above=True)
    return Look(
        replace(seen, wet=0.0, land=_tint(SHIFT, rng), leaves=_tint(SHIFT, rng)),
        LightStyle(
            sun_azimuth=rng.uniform(0, 360),
            sun_height=rng.uniform(*DAY),
            clouds=0.0,
            shadow=rng.uniform(*SHADOW_ABOVE),
            aerial_gain=_tint(TINT, rng),
            aerial_gamma=float(np.exp(GAMMA * rng.standard_normal())),
        ),
    )


def _tint(spread: float, rng: np.random.Generator) -> Colour:
    """Draw factors of brightness and hue."""
    return colour(np.exp(spread * rng.standard_normal() + 0.7 * spread * rng.standard_normal(3)))


def _near(base: Colour, rng: np.random.Generator) -> Colour:
    """Draw a colour near another one."""
    return colour(np.clip(np.array(base) * _tint(NEAR, rng), 0, 255))


def colour(values: np.ndarray) -> Colour:
    """Return three numbers as a colour."""
    red, green, blue = map(float, values)
    return red, green, blue
