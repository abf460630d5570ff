"""Small pictures of photos and tiles."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from .photos import BadImageError, Photo, read_photo

THUMBNAIL, LARGE = 144, 480  # pixels along a picture in the list of places, and beside the photo
_GREY = np.full((64, 64, 3), 225, np.uint8)


def thumbnail(what: Any, side: int, read: Callable[[Any], Photo] = read_photo) -> np.ndarray:
    """Read an image and make it fit a square of `side` pixels, uint8 `[h, w, 3]`; grey where its file has gone.

    Args:
        what: the path, or what `read` takes.
        side: pixels.
        read: returns the image.
    """
    try:
        pixels = read(what).pixels
    except BadImageError:
        return _GREY
    step = max(1, max(pixels.shape) // (4 * side))  # single pixels of a huge picture will do
    pixels = pixels[:, ::step, ::step]
    image = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    image.thumbnail((side, side), reducing_gap=3)
    return np.asarray(image)


def jpeg(pixels: np.ndarray) -> bytes:
    """Return an image, uint8 `[h, w, 3]`, as a JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=80)
    return stream.getvalue()
