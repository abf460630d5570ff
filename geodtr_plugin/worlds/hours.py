"""The hours at which the second drive through a world takes place: other light, other colours, fewer parked cars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .styles import Colour, Style

_CARS_LEFT = 0.5  # share of the parked cars that are still there, at realism 1


@dataclass(frozen=True)
class Hour:
    """How an hour differs from a style's usual light.

    Attributes:
        light: fields of `LightStyle` that the hour replaces.
        gain: what the colours of everything are multiplied by.
    """

    light: Mapping[str, Any]
    gain: Colour

    def develop(self, tones: np.ndarray) -> np.ndarray:
        """Return a camera's tones (see `draw_tones`) in this light, uint8 `[256, 3]` both."""
        return np.clip(np.rint(tones * np.array(self.gain)), 0, 255).astype(np.uint8)


# fmt: off
DAWN = Hour({
    "sun_azimuth": 80.0, "sun_height": 16.0, "clouds": 0.3,
    "zenith": (120, 150, 205), "horizon": (250, 210, 170), "haze": (226, 208, 192),
}, gain=(0.95, 0.88, 0.80))
DUSK = Hour({
    "sun_azimuth": 285.0, "sun_height": 12.0, "clouds": 0.4,
    "zenith": (85, 95, 150), "horizon": (245, 165, 115), "haze": (200, 170, 158),
}, gain=(0.85, 0.72, 0.64))
RAIN = Hour({
    "sun_azimuth": 180.0, "sun_height": 45.0, "clouds": 1.0,
    "zenith": (165, 170, 178), "horizon": (208, 208, 208), "haze": (198, 200, 203),
}, gain=(0.78, 0.82, 0.88))
# fmt: on
HOURS = (DAWN, DUSK, RAIN)


def at_hour(style: Style, hour: Hour, realism: float) -> Style:
    """Return the style of a world at an hour: another light, and at realism 1 or more half of the cars gone."""
    cars = style.streets.cars * (1 - (1 - _CARS_LEFT) * min(1.0, realism))
    return replace(style, light=replace(style.light, **hour.light), streets=replace(style.streets, cars=cars))
