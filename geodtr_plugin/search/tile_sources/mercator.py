"""Web Mercator (EPSG:3857) as a square from 0 to 1, x to the east and y to the south, and metres on the ground.

North is up everywhere, which makes a tile an upright rectangle: of equal sides nearly, since the plane takes the
latitude of the ellipsoid for one of the sphere, and so is 0.7 % longer one way at the equator.
"""

from __future__ import annotations

import numpy as np

RADIUS = 6_378_137.0  # metres: the equator's, of WGS 84 and of the sphere of the plane
ECCENTRICITY_2 = 0.00669437999014
AROUND = 2 * np.pi * RADIUS  # metres of the plane from edge to edge
NORTHERNMOST = 85.0511287798  # degrees: where the square ends


def to_plane(places: np.ndarray) -> np.ndarray:
    """Return points of the plane for latitudes and longitudes in degrees, float64 `[N, 2]` -> `[N, 2]`."""
    latitude = np.radians(np.clip(places[:, 0], -89.99, 89.99))
    return np.stack([places[:, 1] / 360 + 0.5, 0.5 - np.arcsinh(np.tan(latitude)) / (2 * np.pi)], axis=1)


def latitude_of(y: np.ndarray | float) -> np.ndarray:
    """Return latitudes in degrees of rows of the plane."""
    return np.degrees(np.arctan(np.sinh(2 * np.pi * (0.5 - np.asarray(y, np.float64)))))


def plane_a_metre(latitude: np.ndarray | float) -> np.ndarray:
    """Return how much of the plane a metre on the ellipsoid covers, float64 `[..., 2]`: eastward and northward.

    The metre eastward is one along the parallel, of radius N cos(lat), that northward along the meridian, of radius M.
    """
    angle = np.radians(np.asarray(latitude, np.float64))
    w = 1 - ECCENTRICITY_2 * np.sin(angle) ** 2
    prime_vertical, meridian = RADIUS / np.sqrt(w), RADIUS * (1 - ECCENTRICITY_2) / w**1.5
    return np.stack([1 / prime_vertical, 1 / meridian], axis=-1) / (2 * np.pi * np.cos(angle)[..., None])


def metres_a_pixel(latitude: float, zoom: int, side: int) -> float:
    """Return metres on the ground along a pixel of blocks of `side` pixels at a zoom."""
    return float(1 / (plane_a_metre(latitude).mean() * side * 2**zoom))
