"""Capture errors: the stated sizes, the stated directions, nothing at realism 0."""

from __future__ import annotations

import numpy as np

from geodtr_plugin.worlds.capture import Capture, apply_tones, draw_capture, draw_tones


def test_errors_have_the_stated_spread():
    captures = [draw_capture(np.random.default_rng(seed), 1.0) for seed in range(1500)]
    shifts = np.array([capture.shift for capture in captures])
    headings = np.array([capture.heading for capture in captures])
    np.testing.assert_allclose(shifts.std(axis=0), 2.0, rtol=0.07)
    np.testing.assert_allclose(headings.std(), 4.0, rtol=0.07)
    assert np.abs(shifts).max() <= 6.0 and abs(headings.mean()) < 0.4 and np.abs(shifts.mean(axis=0)).max() < 0.2
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.1


def test_realism_zero_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (6, 40, 3), dtype=np.uint8)
    capture = draw_capture(np.random.default_rng(1), 0.0)
    assert capture.shift == (0.0, 0.0)
    assert np.array_equal(capture.apply(picture), picture)
    assert not np.array_equal(draw_capture(np.random.default_rng(1), 1.0).apply(picture), picture)


def test_heading_rolls_and_tones_are_looked_up():
    picture = np.random.default_rng(0).integers(0, 256, (6, 36, 3), dtype=np.uint8)
    tones = draw_tones(np.random.default_rng(1), 1.0)
    turned = Capture((0.0, 0.0), 20.0, np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)).apply(picture)
    assert np.array_equal(turned, np.roll(picture, 2, axis=1))
    toned = apply_tones(picture, tones)
    assert toned[3, 5, 1] == tones[picture[3, 5, 1], 1] and toned.shape == picture.shape
    assert (np.diff(tones.astype(int), axis=0) >= 0).all()
