"""Effects of lens, sensor and compression: plain references, and nothing where nothing was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.worlds.effects import coarsen, compress, grain, quantized, sharpen, smooth_around, tint, warp


def picture(height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 19), st.floats(0, 3.99)), min_size=20, max_size=20))
def test_warp_is_what_a_loop_over_pixels_says(where):
    source = picture()
    columns, rows = np.array([column for column, _ in where]), np.array([row for _, row in where])
    expected = np.zeros((8, 20, 3))
    for row in range(8):
        for column in range(20):
            low, share = int(row + rows[column]), (row + rows[column]) % 1
            here, below = (source[at, columns[column]].astype(float) for at in (low, low + 1))
            expected[row, column] = (1 - share) * here + share * below
    np.testing.assert_allclose(warp(source, columns, rows, 8), expected, atol=1e-3)


def test_nothing_asked_for_is_nothing_done():
    source = picture()
    values = source.astype(np.float32)
    upright = warp(source, np.arange(20), np.full(20, 2.0), 9)
    assert np.array_equal(quantized(upright), source[2:11])
    assert np.array_equal(quantized(tint(values, 1.0, np.full(3, 200.0), 0.0)), source)
    assert np.array_equal(quantized(sharpen(values, 0.0, True)), source)
    assert np.array_equal(coarsen(source, 1.0), source) and np.array_equal(compress(source, 100), source)
    assert np.array_equal(smooth_around(values[0, :, 0], 0), values[0, :, 0])


@pytest.mark.parametrize("around", (False, True))
def test_sharpen_keeps_flat_areas_and_the_mean(around):
    flat = np.full((7, 9, 3), 80, np.float32)
    np.testing.assert_allclose(sharpen(flat, 0.1, around), flat, atol=1e-4)
    values = picture().astype(np.float32)
    blurred, sharper = sharpen(values, -0.2, around), sharpen(values, 0.1, around)
    assert blurred.std() < values.std() < sharper.std()
    np.testing.assert_allclose([blurred.mean(), sharper.mean()], values.mean(), rtol=1e-5)
    row, column = 5, 8
    five = [values[row + i, column + j] for i, j in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]
    np.testing.assert_allclose(blurred[row, column], np.mean(five, axis=0), rtol=1e-5)


def test_a_circle_has_no_edge():
    values = picture().astype(np.float32)
    turned = sharpen(np.roll(values, 3, axis=1), -0.15, True)
    np.testing.assert_allclose(turned, np.roll(sharpen(values, -0.15, True), 3, axis=1), atol=1e-4)
    steps = np.repeat([1.0, 2.0], 10)
    np.testing.assert_allclose(np.roll(smooth_around(steps, 3), 5), smooth_around(np.roll(steps, 5), 3))
    assert smooth_around(steps, 3)[0] == pytest.approx((4 * 1 + 3 * 2) / 7)


def test_tint_goes_to_grey_and_to_haze():
    values = picture().astype(np.float32)
    grey = tint(values, 0.0, np.zeros(3), 0.0)
    np.testing.assert_allclose(grey, np.repeat(grey[..., :1], 3, axis=2), atol=1e-3)
    np.testing.assert_allclose(grey[..., 0], values @ [0.299, 0.587, 0.114], atol=1e-3)
    haze = np.array([200.0, 210.0, 220.0])
    np.testing.assert_allclose(tint(values, 1.0, haze, 0.25), 0.75 * values + 0.25 * haze, atol=1e-3)


def test_compression_and_coarseness_lose_detail_and_keep_the_size():
    source = picture(32, 48)
    errors = [np.abs(compress(source, quality).astype(int) - source).mean() for quality in (95, 60, 30)]
    assert 0 < errors[0] < errors[1] < errors[2]
    for detail in (0.9, 0.5, 0.2, 0.01):
        coarse = coarsen(source, detail)
        assert coarse.shape == source.shape and coarse.std() < source.std()


def test_noise_is_normal_and_differs_from_picture_to_picture():
    rng = np.random.default_rng(0)
    one, other = (grain((64, 176, 3), rng) for _ in range(2))
    assert (
        abs(one.mean()) < 0.02
        and abs(one.std() - 1) < 0.02
        and abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03
    )
    assert grain((300, 500, 3), rng).shape == (300, 500, 3)
