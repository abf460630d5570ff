"""Corruptions: stronger with severity, seeded by the image's name, uint8 in and out; tilt against plain geometry."""

from __future__ import annotations

import numpy as np
import pytest

from geodtr_plugin.augmentations.corruptions import KINDS, SEVERITIES, corrupt, draw_corruption
from geodtr_plugin.augmentations.tilt import tilted
from geodtr_plugin.utils.errors import UnknownNameError

# from one severity to the next, the original's constants too change these by less here and there: flakes become
# smaller, frost and fog darker, and drops become mud
NOT_MONOTONE = {"snow", "frost", "fog", "spatter"}


@pytest.fixture(scope="module")
def image():
    """A smooth image with edges, uint8 [224, 144, 3], at the height at which images are corrupted."""
    rows, columns = np.mgrid[:224, :144]
    waves = [np.sin(rows / a) + np.cos(columns / b) for a, b in ((5, 9), (9, 4), (13, 21))]
    picture = 110 + 40 * np.stack(waves, -1)
    picture[90:, 40:80] = (200, 60, 30)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def corrupted(image):
    return {kind: [corrupt(image, kind, severity, "a") for severity in SEVERITIES] for kind in KINDS}


def changes(image, results) -> list[float]:
    return [float(np.abs(result.astype(float) - image).mean()) for result in results]


def test_there_are_the_sixteen_kinds_of_the_protocol():
    assert len(KINDS) == 16


@pytest.mark.parametrize("kind", KINDS)
def test_images_change_more_with_severity(kind, image, corrupted):
    found = changes(image, corrupted[kind])
    assert all(result.dtype == np.uint8 and result.shape == image.shape for result in corrupted[kind])
    assert 0.05 < found[0] < found[-1]
    assert kind in NOT_MONOTONE or (np.diff(found) > 0).all(), found


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_corrupted_alike_whenever_it_is_read(kind, image, corrupted):
    np.random.seed(3)  # of no influence
    assert np.array_equal(corrupt(image, kind, 2, "a"), corrupted[kind][1])
    random = kind not in {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert np.array_equal(corrupt(image, kind, 2, "b"), corrupted[kind][1]) != random


def test_the_input_stays_as_it_was(image):
    before = image.copy()
    image.setflags(write=False)
    for kind in KINDS:
        corrupt(image, kind, 1)
    assert np.array_equal(image, before)


def test_extreme_and_tiny_images_stay_images():
    for level, size in ((0, (9, 4)), (255, (9, 4)), (7, (1, 1))):
        flat = np.full((*size, 3), level, np.uint8)
        for kind in KINDS:
            assert corrupt(flat, kind, 5).shape == flat.shape


def test_c_all_draws_all_kinds_and_severities_alike_and_by_name_alone():
    drawn = [draw_corruption(f"image-{number}") for number in range(4000)]
    assert drawn[7] == draw_corruption("image-7") and drawn != [draw_corruption(f"image-{n}", 1) for n in range(4000)]
    counts = {pair: drawn.count(pair) for pair in set(drawn)}
    assert len(counts) == 80 and 22 < min(counts.values()) and max(counts.values()) < 85  # 50 each, five deviations


def test_what_does_not_exist_is_refused(image):
    with pytest.raises(UnknownNameError, match="glass_blur"):
        corrupt(image, "glas_blur", 1)
    with pytest.raises(ValueError, match="severity"):
        corrupt(image, "fog", 6)


def test_no_tilt_changes_nothing_and_a_roll_comes_from_a_pitch_a_quarter_further(image):
    assert np.array_equal(tilted(image, 0, 50, 100), image)
    quarter = image.shape[1] // 4
    pitched = tilted(np.roll(image, -quarter, 1), 7, 0, 100)
    assert np.abs(np.roll(pitched, quarter, 1).astype(int) - tilted(image, 7, 90, 100)).max() <= 1


def test_a_tilt_moves_the_horizon_by_its_degrees_ahead_and_behind_and_not_aside():
    height, (rows, columns) = 90.0, (180, 360)
    panorama = np.zeros((rows, columns, 3), np.uint8)
    panorama[rows // 2 :] = 255  # half a degree a row
    horizon = (tilted(panorama, 10, 0, height)[..., 0] < 128).sum(axis=0) / 2 - height / 2
    ahead, aside, behind = horizon[columns // 2], horizon[columns // 4], horizon[0]
    assert abs(ahead) == pytest.approx(10, abs=0.5) and ahead == pytest.approx(-behind, abs=0.5)
    assert aside == pytest.approx(0, abs=0.5)


def test_the_original_changes_images_as_much(image):
    """Where the package is installed: means over images and severities, for what is not drawn anew."""
    original = pytest.importorskip("imagecorruptions")
    for kind in set(KINDS) - {"frost", "spatter", "glass_blur", "fog"}:
        theirs = changes(image, [original.corrupt(image, s, corruption_name=kind) for s in SEVERITIES])
        ours = changes(image, [corrupt(image, kind, s) for s in SEVERITIES])
        assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.1), kind
