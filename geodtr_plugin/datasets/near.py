"""Which images are near which: on a plane in metres, or on the globe by the haversine formula."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ..utils.geo import EARTH_RADIUS, to_metres
from ..utils.ragged import Ragged
from .images import CoordinateKind

_SLACK = 1e-6  # metres that the search is wider than asked, so that its rounding loses nobody; the exact test follows


def within(queries: np.ndarray, references: np.ndarray, radius: float, kind: CoordinateKind) -> Ragged:
    """The references at most `radius` metres from every query, in rising order.

    Args:
        queries: coordinates, float64 `[N, 2]`; none may be NaN.
        references: the same, `[M, 2]`.
        radius: metres; a reference at exactly this distance counts.
        kind: "metres" or "latlon" (degrees).
    """
    trees = [cKDTree(to_metres(coordinates, kind)) for coordinates in (queries, references)]
    found = trees[0].sparse_distance_matrix(trees[1], _straight(radius, kind) + _SLACK, output_type="ndarray")
    found = found[distances(queries[found["i"]], references[found["j"]], kind) <= radius]
    found = found[np.lexsort((found["j"], found["i"]))]
    return Ragged.from_counts(found["j"], np.bincount(found["i"], minlength=len(queries)))


def nearest(queries: np.ndarray, references: np.ndarray, kind: CoordinateKind) -> tuple[np.ndarray, np.ndarray]:
    """The nearest reference of every query, int64 `[N]`, and its distance in metres, `[N]`."""
    _, rows = cKDTree(to_metres(references, kind)).query(to_metres(queries, kind))
    return rows.astype(np.int64), distances(queries, references[rows], kind)


def distances(first: np.ndarray, second: np.ndarray, kind: CoordinateKind) -> np.ndarray:
    """Metres between row i of the one and row i of the other, `[N]`."""
    if kind == "metres":
        return np.hypot(*(first - second).T)
    (lat, lon), (other_lat, other_lon) = np.radians(first).T, np.radians(second).T
    half = np.sin((other_lat - lat) / 2) ** 2 + np.cos(lat) * np.cos(other_lat) * np.sin((other_lon - lon) / 2) ** 2
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.minimum(half, 1)))


def _straight(radius: float, kind: CoordinateKind) -> float:
    """The length of the straight line under an arc of `radius` metres."""
    return radius if kind == "metres" else 2 * EARTH_RADIUS * np.sin(min(radius / EARTH_RADIUS, np.pi) / 2)
