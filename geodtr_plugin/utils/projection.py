"""Latitude and longitude as points of a flat drawing."""

from __future__ import annotations

import math

import numpy as np

from .geo import METRES_A_DEGREE


class Projection:
    """An equirectangular map about the middle of some places, north up.

    Good to 1 % over a few hundred kilometres; the date line is no border.

    Args:
        places: latitudes and longitudes in degrees, `[N, 2]`, that the drawing must hold.
        width: of the drawing, in its own units.
        height: of the drawing.
        margin: left free on all sides.
    """

    def __init__(self, places: np.ndarray, width: float, height: float, margin: float):
        angles = np.radians(places[:, 1])
        self._lon = math.degrees(math.atan2(np.sin(angles).mean(), np.cos(angles).mean()))
        self._lat = float((places[:, 0].min() + places[:, 0].max()) / 2)
        metres = self.metres(places)
        low, high = metres.min(axis=0), metres.max(axis=0)
        extent = np.maximum(high - low, 20.0)  # one place alone gets some ground around it
        self.metres_a_unit = float(max(extent / (width - 2 * margin, height - 2 * margin)))
        self._centre, self._middle = (low + high) / 2, np.array([width / 2, height / 2])

    def metres(self, places: np.ndarray) -> np.ndarray:
        """Return metres east and north of the middle for places in degrees, `[N, 2]` -> `[N, 2]`."""
        lon = (places[:, 1] - self._lon + 180) % 360 - 180
        east = lon * METRES_A_DEGREE * math.cos(math.radians(self._lat))
        return np.stack([east, (places[:, 0] - self._lat) * METRES_A_DEGREE], axis=1)

    def points(self, places: np.ndarray) -> np.ndarray:
        """Return points of the drawing, x to the right and y down, for places in degrees, `[N, 2]` -> `[N, 2]`."""
        offset = (self.metres(places) - self._centre) / self.metres_a_unit
        return self._middle + offset * (1, -1)
