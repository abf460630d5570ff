"""Which images are near which, on a plane in metres or on the globe by the haversine formula; which are one place."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..utils.geo import EARTH_RADIUS, distances, to_metres
from ..utils.ragged import Ragged
from .images import CoordinateKind

_SLACK = 1e-6  # metres that the search is wider than asked, so that its rounding loses nobody; the exact test follows


def within(queries: np.ndarray, references: np.ndarray, radius: float, kind: CoordinateKind) -> Ragged:
    """Return the references at most `radius` metres from every query, in rising order.

    Args:
        queries: coordinates, float64 `[N, 2]`; none may be NaN.
        references: coordinates, float64 `[M, 2]`; none may be NaN.
        radius: metres; a reference at exactly this distance counts.
        kind: "metres" or "latlon" (degrees).
    """
    trees = [cKDTree(to_metres(coordinates, kind)) for coordinates in (queries, references)]
    near = trees[0].sparse_distance_matrix(trees[1], _chord(radius, kind) + _SLACK, output_type="ndarray")
    near = near[distances(queries[near["i"]], references[near["j"]], kind) <= radius]
    near = near[np.lexsort((near["j"], near["i"]))]
    return Ragged.from_counts(near["j"], np.bincount(near["i"], minlength=len(queries)))


def nearest(queries: np.ndarray, references: np.ndarray, kind: CoordinateKind) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of references `[M, 2]` for queries `[N, 2]`, int64 `[N]`, and its distance in metres `[N]`."""
    _, rows = cKDTree(to_metres(references, kind)).query(to_metres(queries, kind))
    return rows.astype(np.int64), distances(queries, references[rows], kind)


def label_places(*keys: np.ndarray) -> np.ndarray:
    """Label rows so that two rows that agree in any of the keys share a label.

    Images that a data set holds twice are one place, so that a loss never pushes its copies apart.

    Args:
        keys: float arrays `[N, K]`. Rows agree when all K numbers are equal; a row with a NaN agrees with none.

    Returns:
        int64 `[N]`: the number of the first row of the place.
    """
    firsts = np.stack([_first_equal_row(key) for key in keys])
    rows = np.tile(np.arange(firsts.shape[1]), len(keys))
    return _first_equal_row(label_linked(np.stack([rows, firsts.ravel()], axis=1), firsts.shape[1])[:, None])


def label_linked(links: np.ndarray, size: int) -> np.ndarray:
    """Label the numbers below `size`, int64 `[size]`: the two numbers of a link, int `[L, 2]`, share a label."""
    table = coo_array((np.ones(len(links), bool), (links[:, 0], links[:, 1])), shape=(size, size))
    return connected_components(table, directed=False)[1].astype(np.int64)


def _chord(radius: float, kind: CoordinateKind) -> float:
    """Return the length of the straight line under an arc of `radius` metres."""
    return radius if kind == "metres" else 2 * EARTH_RADIUS * np.sin(min(radius / EARTH_RADIUS, np.pi) / 2)


def _first_equal_row(key: np.ndarray) -> np.ndarray:
    """Return, for every row of `[N, K]`, the first row that equals it, int64 `[N]`."""
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    rows = first[group.ravel()]  # numpy 2.0 alone gives the groups as [N, 1]
    return np.where(np.isnan(key).any(axis=1), np.arange(len(key)), rows)
