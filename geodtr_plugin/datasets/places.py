"""Place labels: images that a data set holds twice are one place, so that a loss never pushes its copies apart."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def label_places(*keys: np.ndarray) -> np.ndarray:
    """Labels rows so that two rows that agree in any of the keys share a label.

    Args:
        keys: float arrays `[N, K]`. Rows agree when all K numbers are equal; a row with a NaN agrees with none.

    Returns:
        int64 `[N]`: the number of the first row of the place.
    """
    firsts = np.stack([_first_equal_row(key) for key in keys])
    num_rows = firsts.shape[1]
    links = (np.ones(firsts.size, bool), (np.tile(np.arange(num_rows), len(keys)), firsts.ravel()))
    _, components = connected_components(coo_array(links, shape=(num_rows, num_rows)), directed=False)
    return _first_equal_row(components[:, None])


def _first_equal_row(key: np.ndarray) -> np.ndarray:
    """For every row of `[N, K]`, the first row that equals it, int64 `[N]`."""
    _, first, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    rows = first[group.ravel()]  # numpy 2.0 alone gives the groups as [N, 1]
    return np.where(np.isnan(key).any(axis=1), np.arange(len(key)), rows)
