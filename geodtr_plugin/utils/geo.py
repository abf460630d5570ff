"""Coordinates of either kind as points in metres, between which straight lines are the distances."""

from __future__ import annotations

import math

import numpy as np

from .errors import UserError

EARTH_RADIUS = 6_371_008.8  # metres, the mean radius; on the ellipsoid a short distance differs by up to 0.6 %
METRES_A_DEGREE = math.radians(EARTH_RADIUS)  # of latitude


def to_metres(coordinates: np.ndarray, kind: str) -> np.ndarray:
    """Return points whose straight distances order pairs as their distances on the ground do.

    Latitude and longitude become points on a sphere in space. The straight line between two of them is
    2 R sin(angle / 2), with the angle of the haversine formula: 1 mm short of the arc at 10 km, 1 m at 100 km. Unlike
    a plane map this holds anywhere, for any extent, and across the date line.

    Args:
        coordinates: float `[N, 2]`: latitude and longitude in degrees, or metres east and north.
        kind: "latlon" or "metres".

    Returns:
        float64 `[N, 3]` for "latlon", `[N, 2]` for "metres".

    Raises:
        UserError: a coordinate is missing, or no latitude.
        ValueError: the shape or the kind is another one.
    """
    coordinates = np.asarray(coordinates, np.float64)
    if coordinates.ndim != 2 or coordinates.shape[1] != 2:
        raise ValueError(f"coordinates must be [N, 2], not {list(coordinates.shape)}")
    wrong = ~np.isfinite(coordinates).all(axis=1)
    if wrong.any():
        raise UserError(f"Row {int(np.argmax(wrong))} has no coordinates.", "Give it some, or leave it out.")
    if kind == "metres":
        return coordinates
    if kind != "latlon":
        raise ValueError(f"the kind of coordinates must be 'latlon' or 'metres', not {kind!r}")
    wrong = np.abs(coordinates[:, 0]) > 90
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"Row {row} has latitude {coordinates[row, 0]:g}, which is beyond 90 degrees.",
            "Latitude comes first, longitude second; metres are another kind of coordinates.",
        )
    latitude, longitude = np.radians(coordinates).T
    x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
    return EARTH_RADIUS * np.stack([x, y, np.sin(latitude)], axis=1)


def distances(first: np.ndarray, second: np.ndarray, kind: str, radius: float = EARTH_RADIUS) -> np.ndarray:
    """Return the metres `[N]` between row i of `first` and row i of `second`, `[N, 2]` each, by the haversine formula.

    Args:
        first, second: coordinates, as `to_metres` takes them; a NaN gives a NaN.
        kind: "latlon", or "metres" of a plane.
        radius: metres, of the sphere.
    """
    if kind == "metres":
        return np.hypot(*(first - second).T)
    (lat, lon), (other_lat, other_lon) = np.radians(first).T, np.radians(second).T
    half = np.sin((other_lat - lat) / 2) ** 2 + np.cos(lat) * np.cos(other_lat) * np.sin((other_lon - lon) / 2) ** 2
    return 2 * radius * np.arcsin(np.sqrt(np.minimum(half, 1)))
