"""The counting tricks of the ray casting against plain loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.worlds.rays import first_solid, nearest_crown

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4))


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_first_solid_is_the_first_silhouette_above_the_pixel(sizes, seed):
    distances, height, width = sizes
    rows = np.random.default_rng(seed).integers(0, height + 1, (distances, width))
    found = first_solid(rows, height)
    for row in range(height):
        for column in range(width):
            reached = [d for d in range(distances) if rows[d, column] <= row]
            assert found[row, column] == (reached[0] if reached else distances)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_nearest_crown_is_the_nearest_interval_that_holds_the_pixel(sizes, seed):
    distances, height, width = sizes
    rng = np.random.default_rng(seed)
    sample = np.flatnonzero(rng.random(distances * width) < 0.6)
    top, base = np.sort(rng.integers(0, height + 1, (2, len(sample))), axis=0)
    found = nearest_crown(sample, top, base, (distances, height, width))
    for row in range(height):
        for column in range(width):
            covers = (sample % width == column) & (top <= row) & (row < base)
            assert found[row, column] == (sample[covers].min() // width if covers.any() else distances)
