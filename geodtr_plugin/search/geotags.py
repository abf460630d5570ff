"""Where an image was taken and where it looks, by its EXIF; or where it was taken, by its name."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

NameOrder = Literal["none", "lat_lon", "lon_lat"]
NAME_ORDERS = ("none", "lat_lon", "lon_lat")
_GPS = 0x8825
_LAT_REF, _LAT, _LON_REF, _LON = 1, 2, 3, 4
_DIRECTION_REF, _DIRECTION = 16, 17
# two numbers at the end of a name, after _ or @, each with four decimals (10 m) or more: tile_48.13743_11.57549.png
_NUMBER = r"(-?\d{1,3}\.\d{4,})"
_AT_THE_END = re.compile(rf"(?:^|[_@]){_NUMBER}[_@]{_NUMBER}@?$")


class GeotagError(ValueError):
    """Coordinates in an EXIF block that cannot be read for certain. Its text is the reason, as a clause."""


def exif_position(exif: Any) -> tuple[float, float] | None:
    """Return latitude and longitude in degrees of a Pillow EXIF block; None where it has none.

    None as well for 0, 0, which cameras write before they have a fix.

    Raises:
        GeotagError: it has some, but not as the standard has them (Exif 2.3, section 4.6.6), so that a guess could
            name another place.
    """
    gps: Mapping[int, Any] = exif.get_ifd(_GPS)
    if not gps.keys() & {_LAT, _LON}:
        return None
    lat, lon = _degrees("latitude", gps.get(_LAT)), _degrees("longitude", gps.get(_LON))
    if lat == lon == 0:
        return None
    lat *= _sign("latitude", gps.get(_LAT_REF), "north", "south")
    lon *= _sign("longitude", gps.get(_LON_REF), "east", "west")
    if on_earth(lat, lon) is None:
        raise GeotagError(f"no place has latitude {lat:g} and longitude {lon:g}")
    return lat, lon


@dataclass(frozen=True)
class Heading:
    """Where the middle of a photo looks, by its file.

    Args:
        degrees: clockwise from north, 0 to 360.
        north: "true" or "magnetic", as the file says; "unknown" if it does not.
    """

    degrees: float
    north: Literal["true", "magnetic", "unknown"]

    def __str__(self) -> str:
        reference = "which north is not said" if self.north == "unknown" else f"{self.north} north"
        return f"{round(self.degrees) % 360}\N{DEGREE SIGN} ({reference})"


def exif_heading(exif: Any) -> Heading | None:
    """Return where the camera looked by a Pillow EXIF block (GPSImgDirection); None where it says nothing readable."""
    gps: Mapping[int, Any] = exif.get_ifd(_GPS)
    degrees = gps.get(_DIRECTION)
    if not isinstance(degrees, numbers.Real) or not 0 <= float(degrees) <= 360:  # false for NaN: 0/0
        return None
    reference = gps.get(_DIRECTION_REF)
    text = reference.decode("latin-1") if isinstance(reference, bytes) else str(reference)
    norths: dict[str, Literal["true", "magnetic"]] = {"T": "true", "M": "magnetic"}
    return Heading(float(degrees) % 360, norths.get(text.strip(" \0").upper()[:1], "unknown"))


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


def _degrees(name: str, value: Any) -> float:
    """Return degrees, minutes and seconds, of which the last may be missing, as one number."""
    parts = value if isinstance(value, tuple) else (value,)
    known = all(isinstance(part, numbers.Real) and 0 <= float(part) < math.inf for part in parts)  # false for NaN: 0/0
    if not known or not 1 <= len(parts) <= 3 or any(part > 60 for part in parts[1:]):
        raise GeotagError(f"its {name} is not written as degrees, minutes and seconds")
    return sum(float(part) / 60**i for i, part in enumerate(parts))


def _sign(name: str, reference: Any, positive: str, negative: str) -> int:
    """Return 1 or -1 of a reference such as N, in either case, as text or bytes, with blanks and zeros around it."""
    text = reference.decode("latin-1") if isinstance(reference, bytes) else reference
    text = text.strip(" \t\r\n\0").lower() if isinstance(text, str) else ""
    for word, sign in ((positive, 1), (negative, -1)):
        if text in (word, word[0]):
            return sign
    raise GeotagError(f"the {name} is marked {reference!r:.20}, as neither {positive} nor {negative}")
