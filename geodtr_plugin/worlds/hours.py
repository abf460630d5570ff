"""The hours at which the second drive through a world takes place: other light, other colours, fewer parked cars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .styles import Colour, Style

_CARS_LEFT = 0.5  # share of the parked cars that are still there, at realism 1


@dataclass(frozen=True)
class Hour:
    """How an hour differs from a style's usual light.

    Attributes:
        name: what it is called.
        sun_azimuth, sun_height: degrees.
        zenith, horizon, haze: colours of the sky.
        clouds: 0 clear, 1 overcast.
        gain: what the colours of everything are multiplied by.
    """

    name: str
    sun_azimuth: float
    sun_height: float
    zenith: Colour
    horizon: Colour
    haze: Colour
    clouds: float
    gain: Colour

    def develop(self, tones: np.ndarray) -> np.ndarray:
        """Tones uint8 [256, 3] (see capture.draw_tones) of a camera in this light."""
        return np.clip(np.rint(tones * np.array(self.gain)), 0, 255).astype(np.uint8)


HOURS = (
    Hour("dawn", 80.0, 16.0, (120, 150, 205), (250, 210, 170), (226, 208, 192), 0.3, (0.95, 0.88, 0.80)),
    Hour("dusk", 285.0, 12.0, (85, 95, 150), (245, 165, 115), (200, 170, 158), 0.4, (0.85, 0.72, 0.64)),
    Hour("rain", 180.0, 45.0, (165, 170, 178), (208, 208, 208), (198, 200, 203), 1.0, (0.78, 0.82, 0.88)),
)


def at_hour(style: Style, hour: Hour, realism: float) -> Style:
    """The same world in another light, with some of the cars gone."""
    light = replace(
        style.light, sun_azimuth=hour.sun_azimuth, sun_height=hour.sun_height, zenith=hour.zenith,
        horizon=hour.horizon, haze=hour.haze, clouds=hour.clouds,
    )  # fmt: skip
    cars = style.streets.cars * (1 - (1 - _CARS_LEFT) * min(1.0, realism))
    return replace(style, light=light, streets=replace(style.streets, cars=cars))
