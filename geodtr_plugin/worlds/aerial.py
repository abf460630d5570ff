"""The aerial camera: an orthographic tile, north up."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

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


def render_turned_aerial(
    scene: Scene, camera: Camera, size: int, supersample: int, degrees: float, zoom: float
) -> np.ndarray:
    """Return a tile that was not laid quite north up and to scale, uint8 `[size, size, 3]`.

    Args:
        scene, camera, size, supersample: as for `render_aerial`.
        degrees: by which what is seen is turned clockwise.
        zoom: metres along the tile, relative to one that is to scale.

    Raises:
        ValueError: the tile leaves the scene.
    """
    cells, turn = size * supersample, math.radians(degrees)
    sine, cosine = zoom * math.sin(turn), zoom * math.cos(turn)
    half = math.ceil(cells / 2 * (abs(sine) + abs(cosine)))
    top, left = camera.row - half, camera.column - half
    if min(top, left) < 0 or max(top, left) + 2 * half > scene.n:
        raise ValueError(f"A turned tile of {cells} cells around {camera} leaves the scene of {scene.n} cells.")
    around = np.ascontiguousarray(scene.aerial[top : top + 2 * half, left : left + 2 * half])
    corner = (half - (cosine + sine) * cells / 2, half - (cosine - sine) * cells / 2)
    matrix = (cosine, sine, corner[0], -sine, cosine, corner[1])
    # the mean over a pixel's cells smooths what is taken from the nearest cell
    how = Image.Resampling.NEAREST if supersample > 1 else Image.Resampling.BILINEAR
    turned = Image.fromarray(around).transform((cells, cells), Image.Transform.AFFINE, matrix, how)
    return shrink(np.asarray(turned), supersample)


def cells_along(side: float, size: int, coarsest: float) -> int:
    """Return how many cells make a pixel: the fewest that are fine enough, and the tile an even number of them.

    Args:
        side: metres along a tile.
        size: pixels along a tile.
        coarsest: metres that a cell may be wide.
    """
    factor = math.ceil(side / coarsest / size)
    return factor if factor * size % 2 == 0 else factor + 1


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
