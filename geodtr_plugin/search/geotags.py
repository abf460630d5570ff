"""Where an image was taken, by its EXIF or by its name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any, Literal

NameOrder = Literal["none", "lat_lon", "lon_lat"]
NAME_ORDERS = ("none", "lat_lon", "lon_lat")
_GPS = 0x8825
_LAT_REF, _LAT, _LON_REF, _LON = 1, 2, 3, 4
# two numbers at the end of a name, after _ or @, each with four decimals (10 m) or more: tile_48.13743_11.57549.png
_NUMBER = r"(-?\d{1,3}\.\d{4,})"
_AT_THE_END = re.compile(rf"(?:^|[_@]){_NUMBER}[_@]{_NUMBER}@?$")


def exif_position(exif: Any) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees of a Pillow EXIF block; None where it has none that can be true."""
    gps: Mapping[int, Any] = exif.get_ifd(_GPS)
    if not {_LAT_REF, _LAT, _LON_REF, _LON} <= set(gps):
        return None
    lat = _degrees(gps[_LAT]) * (-1 if str(gps[_LAT_REF]).upper().startswith("S") else 1)
    lon = _degrees(gps[_LON]) * (-1 if str(gps[_LON_REF]).upper().startswith("W") else 1)
    return None if lat == lon == 0 else on_earth(lat, lon)


def name_position(path: str, order: NameOrder = "lat_lon") -> tuple[float, float] | None:
    """Return latitude and longitude at the end of a file's name; None where it has none.

    Such names are `tile_48.13743_11.57549.png` and `@48.13743@11.57549@.jpg`. Nothing in a name says which number comes
    first, or that the two are degrees at all: that is for the user to say.

    Args:
        path: of the file.
        order: which of the two numbers comes first; "none" reads no name.
    """
    numbers = _AT_THE_END.search(os.path.splitext(os.path.basename(path))[0])
    if order == "none" or numbers is None:
        return None
    first, second = map(float, numbers.groups())
    return on_earth(first, second) if order == "lat_lon" else on_earth(second, first)


def on_earth(lat: float, lon: float) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees as they are, or None if no place has them."""
    return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None  # false for NaN too


def _degrees(parts: Any) -> float:
    """Return degrees, minutes and seconds as one number; NaN where a camera wrote 0/0."""
    values = [float(part) for part in parts]
    value = sum(part / 60**i for i, part in enumerate(values))
    return value if math.isfinite(value) else math.nan
