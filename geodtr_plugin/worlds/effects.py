"""What lens, sensor, stitching and compression do to a picture; arrays in, arrays out, nothing random but noise."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

_GREY = np.array((0.299, 0.587, 0.114), np.float32)  # weights of red, green and blue in brightness


def warp(picture: np.ndarray, columns: np.ndarray, rows: np.ndarray, height: int) -> np.ndarray:
    """Return a picture whose columns are taken from elsewhere in another one, float32 `[height, W, 3]`.

    Args:
        picture: uint8 `[H, W, 3]`.
        columns: int `[W]`, the column that each one is.
        rows: float `[W]`, the row at which each one begins; between two rows, they are blended.
        height: rows of the result; `rows + height` stays below H.
    """
    first = np.floor(rows).astype(np.intp)
    share = (rows - first).astype(np.float32)[:, None]
    at = (first + np.arange(height + 1)[:, None]) * picture.shape[1] + columns
    taken = picture.reshape(-1, 3).take(at, axis=0).astype(np.float32)
    return taken[:-1] + share * (taken[1:] - taken[:-1])


def smooth_around(values: np.ndarray, width: int) -> np.ndarray:
    """Return the running mean of values around a circle, float `[W]`, over `2 * width + 1` of them."""
    if width < 1:
        return values
    closed = np.concatenate([values[-width:], values, values[:width]])
    return np.convolve(closed, np.full(2 * width + 1, 1 / (2 * width + 1)), "valid")


def saturate(picture: np.ndarray, amount: float) -> np.ndarray:
    """Return a picture `[H, W, 3]` with its colours `amount` times as far from grey."""
    grey = (picture @ _GREY)[..., None]
    return grey + np.float32(amount) * (picture - grey)


def veil(picture: np.ndarray, colour: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Return a picture `[H, W, 3]` of which a share is one colour, `[3]`."""
    return picture + (colour - picture) * np.asarray(share, np.float32)


def sharpen(picture: np.ndarray, amount: float, around: bool) -> np.ndarray:
    """Return a picture `[H, W, 3]` moved away from the mean of its neighbours, or below 0 towards it.

    Args:
        picture: float32.
        amount: down to -1/3, where a pixel and its two neighbours weigh the same, in rows and then in columns.
        around: the columns close to a circle.
    """
    for axis in (0, 1):
        if axis == 1 and around:
            before, after = np.roll(picture, 1, axis), np.roll(picture, -1, axis)
        else:
            at = np.arange(picture.shape[axis])
            before = picture.take(np.maximum(at - 1, 0), axis)
            after = picture.take(np.minimum(at + 1, at[-1]), axis)
        picture = picture + np.float32(amount) * (2 * picture - before - after)
    return picture


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
    return np.asarray(Image.open(file))


def quantized(picture: np.ndarray) -> np.ndarray:
    """Return a float picture in 0..255, clipped and rounded, as uint8."""
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
