"""The aerial camera: an orthographic tile, north up."""

from __future__ import annotations

import numpy as np

from .scene import Camera, Scene


def render_aerial(scene: Scene, camera: Camera, size: int, supersample: int = 2) -> np.ndarray:
    """Return the tile whose centre is the camera's corner, uint8 `[size, size, 3]`.

    Args:
        scene: what is seen.
        camera: the tile's centre.
        size: pixels along a side.
        supersample: cells along a pixel; a pixel is the rounded mean of its cells.

    Raises:
        ValueError: the tile leaves the scene, or is an odd number of cells wide.
    """
    cells = size * supersample
    if cells % 2:
        raise ValueError(f"A tile must be an even number of cells wide, not {size} x {supersample}.")
    top, left = camera.row - cells // 2, camera.column - cells // 2
    if min(top, left) < 0 or max(top, left) + cells > scene.n:
        raise ValueError(f"A tile of {cells} cells around {camera} leaves the scene of {scene.n} cells.")
    tile = scene.aerial[top : top + cells, left : left + cells]
    return shrink(tile, supersample)


def shrink(picture: np.ndarray, factor: int) -> np.ndarray:
    """Return the rounded mean over squares of `factor` x `factor` pixels of a picture, uint8 `[H, W, 3]`.

    The mean is taken in integers, so that it commutes with turns and mirrors exactly.
    """
    if factor == 1:
        return np.array(picture)
    total = np.zeros((*(side // factor for side in picture.shape[:2]), picture.shape[2]), np.uint16)
    for row in range(factor):
        for column in range(factor):
            total += picture[row::factor, column::factor]
    return ((total + factor * factor // 2) // (factor * factor)).astype(np.uint8)
