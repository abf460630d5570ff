"""Small pictures within a page: thumbnails of images, and numbers on a grid as colours."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from .html import Html, tag

if TYPE_CHECKING:
    from torch import Tensor

    from ...datasets.images import Images

# dark blue over grey to yellow, as in cividis: its lightness rises evenly, for every kind of sight and in print
RAMP = np.array([(0, 34, 78), (67, 78, 108), (125, 124, 120), (188, 175, 111), (254, 232, 56)], np.float64)


def thumbnail(images: Images, row: int, side: int, what: str) -> Html:
    """Return a stored image made to fit a square of `side` pixels; a sentence where it cannot be read."""
    from ...utils.errors import UserError

    try:
        pixels = images.read(row)
    except UserError as error:
        return tag("p", f"{what}: {error}", class_="missing")
    return image_of(pixels, what, side)


def image_of(pixels: Tensor, what: str, side: int) -> Html:
    """Return an image uint8 `[3, H, W]` made to fit a square of `side` pixels; `what` it shows is its text."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy()))
    image.thumbnail((side, side), reducing_gap=3)
    return _embedded(image, "JPEG", what, quality=78)


def heat_map(values: np.ndarray, what: str) -> Html:
    """Return numbers `[h, w]` as colours between the least and the largest of them."""
    from PIL import Image

    low, high = float(values.min()), float(values.max())
    shares = (values - low) / ((high - low) or 1)
    places = np.linspace(0, 1, len(RAMP))
    colours = np.stack([np.interp(shares, places, channel) for channel in RAMP.T], axis=-1)
    return _embedded(Image.fromarray(colours.round().astype(np.uint8)), "PNG", what)


def _embedded(image, kind: str, what: str, **options) -> Html:
    stream = io.BytesIO()
    image.save(stream, kind, optimize=True, **options)
    data = base64.b64encode(stream.getvalue()).decode()
    source = f"data:image/{kind.lower()};base64,{data}"
    return tag("img", src=source, alt=what, width=image.width, height=image.height)
