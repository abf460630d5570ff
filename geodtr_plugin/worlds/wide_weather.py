"""Seasons and weather of the wide worlds, and the other day on which the aerial picture was taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .styles import Colour, LightStyle, Look, SeasonStyle, Span

# share of the scenes that a season or a weather gets; aerial pictures of snow are rare
SEASONS = {"lush": 0.34, "dry": 0.2, "autumn": 0.18, "bare": 0.18, "snow": 0.1}
WEATHERS = {"clear": 0.47, "low sun": 0.15, "overcast": 0.25, "haze": 0.07, "dusk": 0.045, "night": 0.015}
SEASONS_ABOVE = {"lush": 0.44, "dry": 0.24, "autumn": 0.14, "bare": 0.15, "snow": 0.03}
SAME_SEASON = 0.45  # share of the scenes whose aerial picture is of the same season
DAY = (20.0, 65.0)  # height of the sun over the aerial picture, degrees
TINT, GAMMA = 0.04, 0.2  # spread of the logarithms of its channels' gain, and of its gamma
SHIFT = 0.04  # spread of the logarithms of the channels that a season multiplies grass and leaves by

TREELINES = 0.65  # share of scenes with trees on the horizon
_CLOUD = (238, 239, 241)

# zenith, horizon and haze by weather: the sky's colours from above to the distance
_SKIES: dict[str, tuple[Colour, Colour, Colour]] = {
    "clear": ((85, 140, 215), (205, 222, 240), (205, 215, 228)),
    "low sun": ((110, 145, 200), (245, 220, 185), (226, 208, 192)),
    "overcast": ((175, 180, 188), (222, 222, 224), (214, 215, 217)),
    "haze": ((185, 192, 200), (222, 222, 220), (212, 212, 210)),
    "dusk": ((80, 90, 140), (235, 165, 125), (165, 140, 138)),
    "night": ((14, 16, 30), (45, 42, 50), (30, 30, 38)),
}
_SIGHT: dict[str, Span] = {  # metres, see LightStyle.sight
    "clear": (150.0, 500.0), "low sun": (120.0, 350.0), "overcast": (110.0, 350.0), "haze": (35.0, 80.0),
    "dusk": (100.0, 250.0), "night": (60.0, 150.0),
}  # fmt: skip
_GAINS: dict[str, tuple[Colour, float]] = {  # colour of the light, and the spread of its brightness' logarithm
    "clear": ((1.0, 1.0, 1.0), 0.12), "low sun": ((1.06, 0.96, 0.82), 0.12), "overcast": ((0.9, 0.92, 0.95), 0.12),
    "haze": ((0.92, 0.93, 0.95), 0.1), "dusk": ((0.68, 0.6, 0.62), 0.2), "night": ((0.2, 0.18, 0.2), 0.3),
}  # fmt: skip


def draw_season(rng: np.random.Generator, shares: dict[str, float] = SEASONS) -> SeasonStyle:
    """Draw what the time of the year makes of a scene."""
    season = rng.choice(list(shares), p=list(shares.values()))
    look = SeasonStyle(
        land=_tint(SHIFT, rng),
        leaves=_tint(SHIFT, rng),
        straw=rng.uniform(0.0, 0.25),
        wet=rng.uniform(0.3, 1.0) if rng.random() < 0.15 else 0.0,
    )
    if season == "dry":
        return replace(look, straw=rng.uniform(0.3, 0.95), wet=0.0)
    if season == "autumn":
        return replace(look, autumn=rng.uniform(0.2, 1.0), bare=rng.uniform(0.0, 0.4), straw=rng.uniform(0.0, 0.5))
    if season == "bare":
        return replace(look, bare=rng.uniform(0.5, 1.0), autumn=rng.uniform(0.0, 0.3), straw=rng.uniform(0.2, 0.9))
    if season == "snow":
        return replace(
            look, snow=rng.uniform(0.3, 1.0), cleared=rng.choice([0.3, 0.7, 1.0]), bare=rng.uniform(0.7, 1.0),
            straw=rng.uniform(0.3, 0.9),
        )  # fmt: skip
    return look


def draw_light(rng: np.random.Generator) -> LightStyle:
    """Draw the weather and the time of the day over the ground camera."""
    weather = str(rng.choice(list(WEATHERS), p=list(WEATHERS.values())))
    zenith, horizon, haze = (_near(base, rng) for base in _SKIES[weather])
    gain, spread = _GAINS[weather]
    brightness = np.exp(spread * rng.standard_normal())
    closed = weather in ("overcast", "haze", "night")
    return LightStyle(
        sun_azimuth=rng.uniform(0, 360),
        sun_height=rng.uniform(8, 22) if weather in ("low sun", "dusk") else rng.uniform(*DAY),
        zenith=zenith,
        horizon=horizon,
        haze=haze,
        sight=rng.uniform(*_SIGHT[weather]),
        clouds=0.1 if weather == "night" else rng.uniform(0.85, 1.0) if closed else rng.uniform(0.0, 0.75),
        cloud=colour(np.array(_CLOUD) * min(1.0, 1.2 * max(gain))),
        hills=rng.uniform(0.2, 1.5) if rng.random() < 0.6 else rng.uniform(1.5, 7.0),
        treeline=rng.uniform(0.5, 4.5) if rng.random() < TREELINES else 0.0,
        shadow=rng.uniform(0.0, 0.15) if closed else rng.uniform(0.35, 0.68),
        gain=colour(np.array(gain) * brightness * _tint(0.02, rng)),
    )


def draw_aerial_look(light: LightStyle, season: SeasonStyle, rng: np.random.Generator) -> Look:
    """Draw the day on which the aerial picture was taken: a clear one, of the same season or of any."""
    same = rng.random() < SAME_SEASON * (1 - season.snow)
    seen = season if same else draw_season(rng, SEASONS_ABOVE)
    return Look(
        replace(seen, wet=0.0, land=_tint(SHIFT, rng), leaves=_tint(SHIFT, rng)),
        LightStyle(
            sun_azimuth=rng.uniform(0, 360),
            sun_height=rng.uniform(*DAY),
            clouds=0.0,
            shadow=rng.uniform(0.2, 0.7),
            aerial_gain=_tint(TINT, rng),
            aerial_gamma=float(np.exp(GAMMA * rng.standard_normal())),
        ),
    )


def _tint(spread: float, rng: np.random.Generator) -> Colour:
    """Draw factors of brightness and hue."""
    return colour(np.exp(spread * rng.standard_normal() + 0.7 * spread * rng.standard_normal(3)))


def _near(base: Colour, rng: np.random.Generator) -> Colour:
    """Draw a colour near another one."""
    return colour(np.clip(np.array(base) * _tint(0.045, rng), 0, 255))


def colour(values: np.ndarray) -> Colour:
    """Return three numbers as a colour."""
    red, green, blue = map(float, values)
    return red, green, blue
