"""An area around a place: what is cut, searched or deleted is limited to it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ..utils.errors import UserError
from ..utils.geo import EARTH_RADIUS, distances
from .geotags import on_earth

_AREA = re.compile(r"\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*,\s*([\d.]+)\s*(km|m)\s*")


@dataclass(frozen=True)
class Area:
    """All places within some metres of one.

    Args:
        lat: latitude of the middle in degrees.
        lon: its longitude in degrees.
        metres: from there to the border, along the ground.
    """

    lat: float
    lon: float
    metres: float

    @classmethod
    def parse(cls, text: str, option: str = "--area") -> Area:
        """Return the area of "48.137,11.575,5km".

        Args:
            text: latitude, longitude, and a radius in km or m.
            option: where it was written, for the message.

        Raises:
            UserError: the text is no such area, or nowhere on Earth.
        """
        try:
            lat, lon, radius, unit = _AREA.fullmatch(text).groups()  # type: ignore[union-attr]
            area = cls(float(lat), float(lon), float(radius) * (1000 if unit == "km" else 1))
        except (AttributeError, ValueError):  # no match, or 1.2.3
            area = cls(91.0, 0.0, 0.0)
        if on_earth(area.lat, area.lon) is None or area.metres <= 0:
            raise UserError(f"{option} is {text!r}.", "Give latitude, longitude and a radius: 48.137,11.575,5km.")
        return area

    @classmethod
    def around(cls, places: np.ndarray, margin: float) -> Area:
        """Return an area that holds places in degrees, `[N, 2]`, and some metres around them."""
        angles = np.radians(places[:, 1])
        lon = math.degrees(math.atan2(np.sin(angles).mean(), np.cos(angles).mean()))
        lat = float(places[:, 0].min() + places[:, 0].max()) / 2
        middle = np.broadcast_to((lat, lon), places.shape)
        return cls(lat, lon, float(distances(middle, places, "latlon").max()) + margin)

    def __str__(self) -> str:
        return f"{self.metres:,g} m of {self.lat:g}, {self.lon:g}"

    def holds(self, places: np.ndarray) -> np.ndarray:
        """Tell which places in degrees, float64 `[N, 2]`, lie in the area, bool `[N]`; NaN lies nowhere."""
        return distances(np.broadcast_to((self.lat, self.lon), places.shape), places, "latlon") <= self.metres

    def box(self) -> tuple[float, float, list[tuple[float, float]]]:
        """Return south, north and one or two ranges (west, east) in degrees that hold the area.

        There are two across the date line. Over a pole, every longitude is in.
        """
        reach = self.metres / EARTH_RADIUS
        south, north = self.lat - math.degrees(reach), self.lat + math.degrees(reach)
        if south <= -90 or north >= 90:
            return max(south, -90.0), min(north, 90.0), [(-180.0, 180.0)]
        # where a meridian touches the circle: farther from the middle than the ends of its parallel
        half = math.degrees(math.asin(min(1.0, math.sin(reach) / math.cos(math.radians(self.lat)))))
        west, east = self.lon - half, self.lon + half
        if west < -180:
            return south, north, [(west + 360, 180.0), (-180.0, east)]
        if east > 180:
            return south, north, [(west, 180.0), (-180.0, east - 360)]
        return south, north, [(west, east)]
