"""What lens, sensor, stitching and compression do to a picture: arrays in, arrays out."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image

_GREY = np.array((0.299, 0.587, 0.114))  # weights of red, green and blue in brightness
_GRAINS = 100_000  # places in the table of noise at which a picture's noise may begin


def warp(picture: np.ndarray, columns: np.ndarray, rows: np.ndarray, height: int) -> np.ndarray:
    """Return a picture whose columns are taken from elsewhere in another one, float32 `[height, W, 3]`.

    Args:
        picture: uint8 `[H, W, 3]`.
        columns: int `[W]`, the column that each one is.
        rows: float `[W]`, the row at which each one begins, 0 to H - height; between two rows, they are blended.
        height: rows of the result.
    """
    first = np.floor(rows).astype(np.intp)
    share = (rows - first).astype(np.float32)[:, None]
    row = np.minimum(first + np.arange(height + 1)[:, None], len(picture) - 1)
    taken = picture.reshape(-1, 3).take(row * picture.shape[1] + columns, axis=0).astype(np.float32)
    return taken[:-1] + share * (taken[1:] - taken[:-1])


def smooth_around(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the running mean of values around a circle, float `[W]`, over `reach` neighbours on either side."""
    if reach < 1:
        return values
    closed = np.concatenate([values[-reach:], values, values[:reach]])
    return np.convolve(closed, np.full(2 * reach + 1, 1 / (2 * reach + 1)), "valid")


def tint(picture: np.ndarray, saturation: float, haze: np.ndarray, share: float) -> np.ndarray:
    """Return a picture `[H, W, 3]` with its colours moved from grey or to it, and then a share of it haze.

    Args:
        picture: float32.
        saturation: 1 leaves colours as they are, 0 makes them grey.
        haze: `[3]`, its colour.
        share: how much of the picture is haze.
    """
    matrix = (1 - share) * (saturation * np.eye(3) + (1 - saturation) * _GREY[:, None])
    return picture @ matrix.astype(np.float32) + (share * haze).astype(np.float32)


def sharpen(picture: np.ndarray, amount: float, around: bool) -> np.ndarray:
    """Return a picture `[H, W, 3]` moved away from its four neighbours, or below 0 towards them.

    Args:
        picture: float32.
        amount: weight of a neighbour; at -0.2 all five pixels weigh the same.
        around: the columns close to a circle. Elsewhere what lies outside is as at the edge.
    """
    part = np.float32(amount) * picture
    result = picture + 4 * part
    for axis, closed in ((0, False), (1, around)):
        into, of = np.moveaxis(result, axis, 0), np.moveaxis(part, axis, 0)
        into[1:] -= of[:-1]
        into[:-1] -= of[1:]
        into[0] -= of[-1 if closed else 0]
        into[-1] -= of[0 if closed else -1]
    return result


def grain(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return normal noise, float32, a random piece of a table: to draw it anew would take longer than a JPEG does."""
    count = int(np.prod(shape))
    table = _noise(_GRAINS + count)
    start = int(rng.integers(_GRAINS))
    return table[start : start + count].reshape(shape)


@lru_cache(maxsize=2)
def _noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(count, np.float32)


def coarsen(picture: np.ndarray, detail: float) -> np.ndarray:
    """Return a picture, uint8 `[H, W, 3]`, as it is after it was stored at `detail` of its resolution, 0 to 1."""
    height, width = picture.shape[:2]
    small = max(4, round(width * detail)), max(4, round(height * detail))
    if small == (width, height):
        return picture
    image = Image.fromarray(picture).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def compress(picture: np.ndarray, quality: int) -> np.ndarray:
    """Return a picture, uint8 `[H, W, 3]`, as a JPEG keeps it; as it is at a quality of 100."""
    if quality >= 100:
        return picture
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=["JPEG"]))


def quantized(picture: np.ndarray) -> np.ndarray:
    """Return a float picture in 0..255, clipped and rounded, as uint8."""
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
