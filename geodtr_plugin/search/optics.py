"""How wide a picture looks, and where in it a direction lies: what a file says of its own projection.

Directions are azimuths from the middle of the picture, in radians clockwise, and elevations above the horizon.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

EXIF_IFD, FOCAL_LENGTH_35MM, LENS = 0x8769, 0xA405, 0xA434
WIDE = 1.9  # width / height from which a picture without a word on itself is a panorama; a phone's photo has 16 : 9
_XMP_TAG = 700  # of a TIFF
_DIAGONAL_35MM = math.hypot(36, 24)  # millimetres; what a 35 mm equivalent is measured by
# Google's Photo Sphere fields, which cameras write as attributes or as elements. An XML parser would also read
# entities, which can be made to fill the memory.
_GPANO = re.compile(r"(?<!/)GPano:(\w+)\s*(?:=\s*[\"']([^\"'<]{0,99})[\"']|>([^<]{0,99})<)")
_MOST_XMP = 2**20  # bytes that are looked at
_SLACK = 0.02  # by which the shape of a picture may differ from that in its GPano block: rounding


@dataclass(frozen=True)
class Equirectangular:
    """A panorama, or a part of one: columns are azimuths, and rows elevations.

    Args:
        span: degrees of azimuth that it shows, up to 360.
        up: elevation of its upper edge, in degrees.
        down: elevation of its lower edge.
        off: azimuth of its middle in degrees, against the middle of the whole panorama that it is a part of.
    """

    span: float
    up: float
    down: float
    off: float = 0.0

    @property
    def rise(self) -> float:
        """Degrees of elevation that it shows."""
        return self.up - self.down

    def points(self, azimuth: np.ndarray, elevation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where directions lie, in radians `[H, W]`: x and y, each from 0 to 1 inside the picture."""
        x = 0.5 + np.degrees(azimuth) / self.span
        return x, (self.up - np.degrees(elevation)) / self.rise


@dataclass(frozen=True)
class Rectilinear:
    """An ordinary photo, which keeps straight lines straight, of a level camera.

    Args:
        span: degrees that it shows horizontally, below 180.
        aspect: its width / height.
    """

    span: float
    aspect: float

    @property
    def rise(self) -> float:
        """Degrees of elevation that it shows in its middle."""
        return 2 * math.degrees(math.atan(math.tan(math.radians(self.span / 2)) / self.aspect))

    def points(self, azimuth: np.ndarray, elevation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where directions lie, in radians `[H, W]`: x and y, from 0 to 1 inside; NaN behind the camera."""
        reach = 2 * math.tan(math.radians(self.span / 2))  # of the picture, at distance 1
        ahead = np.where(np.cos(azimuth) > 1e-3, np.cos(azimuth), np.nan)  # what lies behind the camera is nowhere
        y = 0.5 - np.tan(elevation) / ahead * self.aspect / reach
        return 0.5 + np.sin(azimuth) / ahead / reach, y


Projection = Equirectangular | Rectilinear


@dataclass(frozen=True)
class Optics:
    """What a file says of how its picture was made.

    Args:
        projection: of the picture; None where it does not say.
        pose: where the middle of the whole panorama looks, in degrees clockwise from true north, or None.
        fisheye: it is said to be one.
    """

    projection: Projection | None = None
    pose: float | None = None
    fisheye: bool = False


def read_optics(image: Image.Image, height: int, width: int) -> Optics:
    """Return what the metadata of an image file say, GPano XMP before EXIF; what contradicts the picture says nothing.

    Args:
        image: opened by Pillow.
        height, width: of the upright picture.
    """
    fields = gpano_fields(image)
    exif = image.getexif().get_ifd(EXIF_IFD)
    if fields.get("ProjectionType", "").lower() == "equirectangular":
        found = _equirectangular(fields, height, width)
        return Optics(found, _number(fields.get("PoseHeadingDegrees")))
    fisheye = "fisheye" in f"{fields.get('ProjectionType')} {exif.get(LENS)}".lower().replace("-", "")
    return Optics(_of_lens(exif, height, width), None, fisheye and width < WIDE * height)  # a stitched one is wider


def gpano_fields(image: Image.Image) -> dict[str, str]:
    """Return the fields of Google's Photo Sphere XMP of an image file by name; none where it has none."""
    tags = getattr(image, "tag_v2", {})
    data = next(filter(None, (image.info.get("xmp"), image.info.get("XML:com.adobe.xmp"), tags.get(_XMP_TAG))), b"")
    text = data[:_MOST_XMP].decode("utf-8", "replace") if isinstance(data, bytes) else str(data)[:_MOST_XMP]
    return {name: attribute or element for name, attribute, element in _GPANO.findall(text)}


def _equirectangular(fields: Mapping[str, str], height: int, width: int) -> Equirectangular | None:
    """Return which part of the sphere a picture shows by its GPano fields, or None if they are those of another."""
    whole_width, whole_height, part_width, part_height, left, top = (
        _number(fields.get(name))
        for name in (
            "FullPanoWidthPixels", "FullPanoHeightPixels", "CroppedAreaImageWidthPixels",
            "CroppedAreaImageHeightPixels", "CroppedAreaLeftPixels", "CroppedAreaTopPixels",
        )
    )  # fmt: skip
    if whole_width is None or whole_height is None or not min(whole_width, whole_height) > 0:
        return None
    part_width, part_height = part_width or whole_width, part_height or whole_height
    left, top = left or 0.0, top or 0.0
    fits = 0 < part_width <= whole_width and 0 < part_height and 0 <= top and top + part_height <= whole_height
    if not fits or abs(part_width * height / (part_height * width) - 1) > _SLACK:  # scaled, it would keep its shape
        return None
    degrees = 180 / whole_height
    up = 90 - top * degrees
    span = 360 * part_width / whole_width
    return Equirectangular(span, up, up - part_height * degrees, (left / whole_width - 0.5) * 360 + span / 2)


def _of_lens(exif: Mapping[int, Any], height: int, width: int) -> Rectilinear | None:
    """Return what an ordinary photo shows by its focal length, or None: without one, or of a panorama."""
    focal = _number(exif.get(FOCAL_LENGTH_35MM))
    if focal is None or not 8 <= focal <= 2000 or width >= WIDE * height:
        return None
    reach = width / math.hypot(width, height) * _DIAGONAL_35MM / focal
    return Rectilinear(math.degrees(2 * math.atan(reach / 2)), width / height)


def _number(value: Any) -> float | None:
    """Return a finite number, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None
