"""The polar transform against a naive loop, against marks in known directions, and against turned tiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.augmentations import PolarTransform


def naive_polar(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """float64, pixel by pixel; a corner outside the tile counts as zero."""
    size = tile.shape[-1]
    result = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            rho, theta = size / 2 * (height - 1 - i) / height, 2 * math.pi * j / width
            y, x = size / 2 + rho * math.cos(theta), size / 2 - rho * math.sin(theta)
            for r in (math.floor(y), math.floor(y) + 1):
                for c in (math.floor(x), math.floor(x) + 1):
                    if 0 <= r < size and 0 <= c < size:
                        result[i, j] += (1 - abs(y - r)) * (1 - abs(x - c)) * tile[r, c]
    return result


@settings(deadline=None, max_examples=12)
@given(st.integers(2, 40), st.integers(1, 15), st.integers(1, 23), st.integers(0, 9))
def test_equals_a_naive_loop(size, height, width, seed):
    aerial = torch.rand(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    polar = PolarTransform(height, width)(aerial)
    assert polar.dtype == torch.float64
    for image, tile in zip(polar.flatten(0, 1), aerial.flatten(0, 1)):
        np.testing.assert_allclose(image, naive_polar(tile.numpy(), height, width), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_keeps_the_scale_and_works_in_float32(dtype):
    aerial = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    polar = PolarTransform(20, 48)(aerial.to(dtype))
    assert polar.dtype == torch.float32
    torch.testing.assert_close(polar, PolarTransform(20, 48)(aerial.double()).float(), atol=1e-4, rtol=0)


# (row, column) offset of a mark from the tile's centre, and the share of the width at which it has to appear
@pytest.mark.parametrize("offset, share", [((200, 0), 0), ((0, -200), 1 / 4), ((-200, 0), 1 / 2), ((0, 200), 3 / 4)])
def test_marks_appear_in_their_direction(offset, share):
    size, height, width = 750, 122, 671
    aerial = torch.zeros(1, 1, size, size)
    row, column = size // 2 + offset[0], size // 2 + offset[1]
    aerial[..., row - 4 : row + 5, column - 4 : column + 5] = 1
    brightest = PolarTransform(height, width)(aerial)[0, 0].sum(0)
    angles = 2 * math.pi * torch.arange(width) / width
    seen = math.atan2((brightest * angles.sin()).sum(), (brightest * angles.cos()).sum()) / (2 * math.pi) % 1
    assert abs((seen - share + 0.5) % 1 - 0.5) * width < 0.5


def test_the_bottom_row_is_the_camera_and_the_corners_are_unused():
    aerial = torch.zeros(1, 3, 100, 100)
    aerial[:, :, 50, 50] = 1
    assert (PolarTransform(20, 80)(aerial)[:, :, -1] == 1).all()
    rows, columns = torch.meshgrid(torch.arange(100.0), torch.arange(100.0), indexing="ij")
    outside = (rows - 50).hypot(columns - 50) > 52
    assert PolarTransform(20, 80)(outside.float()[None, None]).max() == 0


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_clockwise_turn_of_the_tile_moves_the_content_right(turns):
    size, height, width = 256, 64, 320
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    aerial = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    polar = PolarTransform(height, width)
    turned, still = polar(aerial.rot90(-turns, (-2, -1))), polar(aerial)
    error = [(turned - still.roll(shift, -1)).abs().mean().item() for shift in range(width)]
    best = min(range(width), key=error.__getitem__)
    assert abs(best - turns * width // 4) <= 1
    assert error[turns * width // 4] < 0.05 * max(error)


def test_refuses_tiles_that_are_not_square():
    with pytest.raises(ValueError, match="square"):
        PolarTransform(10, 20)(torch.zeros(1, 3, 30, 40))


def test_a_table_made_during_evaluation_serves_training():
    with torch.inference_mode():
        PolarTransform(9, 31)(torch.zeros(1, 3, 17, 17))
    aerial = torch.rand(1, 3, 17, 17, requires_grad=True)
    PolarTransform(9, 31)(aerial).sum().backward()
    assert aerial.grad.sum() > 0
