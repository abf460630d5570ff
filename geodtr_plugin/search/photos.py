"""One photo or tile from a file of any origin: decoded as it should look, or refused with a reason. Nothing in between.

What there is                                   What becomes of it
----------------------------------------------  ------------------------------------------------------------------
JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 decoded to RGB, by the decoder of the data sets
EXIF orientation (phones)                       turned and mirrored upright
grey, palette, one bit, LAB, YCbCr              to RGB
CMYK                                            to RGB
alpha, transparent palette                      the colours below it, as in training; transparency is dropped
16 bits a channel                               scaled to 8
GPano XMP, focal length, lens, GPSImgDirection  kept beside the pixels, for `query_views`; nonsense says nothing
animation, several pages                        the first picture
wrong suffix (a PNG named .jpg)                 decoded by its content
the same picture under two names                kept twice: copies are references of their own
file name that is not UTF-8                     read; printed with \\x.. for the bytes that are no text
damaged EXIF                                    decoded, without coordinates
GPS of 0, 0                                     decoded, without coordinates: cameras write it before they have a fix
GPS that is not certain: no N or S, 0/0, 95 N   decoded, without coordinates; the image is named
HEIC, HEIF                                      decoded, upright, by pillow-heif; left out where that is missing
text or HTML named .jpg, EPS, PSD               left out: not an image, see `decode.FORMATS`
0 bytes                                         left out: empty
truncated JPEG, PNG, GIF, ...                   left out: never half a picture
JPEG with a film behind it (motion photo), MPO  the picture; what follows is not looked at
1 x 1, any side below 8 pixels                  left out: too small to show a place
more than 179 million pixels (or a bomb)        left out before anything is decoded
floating-point pixels (height models)           left out: no colours
file above 1 GiB                                left out before it is read
no permission, disk error                       left out: with the system's reason
link to nowhere, links in a circle              left out: with the system's reason
folder named x.jpg                              searched as any folder is; where a table names it: left out
pipe, socket, device                            left out: reading it might never end
not square, for a polar transform               left out: the polar transform needs a square
unreadable folder                               named; the others are searched
folders linked in a circle                      each is entered once
hidden files, other suffixes                    counted
one file twice (table, link, command line)      once; the other is named
table that names a missing file                 the row is left out: with its line
row without coordinates, or with wrong ones     kept, without coordinates; the line is named
empty folder, no image at all                   a sentence and exit code 1
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from ..datasets.decode import decode_image, open_image
from ..utils.errors import UserError
from .geotags import GeotagError, Heading, exif_heading, exif_position
from .optics import Equirectangular, Optics, read_optics

SMALLEST = 8  # pixels along a side
MOST_PIXELS = 178_956_970  # where Pillow too speaks of a decompression bomb; a panorama of 18,000 x 9,000 still passes
MOST_BYTES = 2**30
NO_HEIF = 'is HEIC, which needs pip install "geodtr_plugin[heic]"'


class BadImageError(UserError):
    """An image that cannot be used. Its text is the reason as a part of a sentence, to follow the file's name."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded image.

    Args:
        pixels: uint8 `[3, H, W]`, upright.
        position: latitude and longitude in degrees from its EXIF, or None.
        note: why there is no position although the EXIF has one, as a part of a sentence after the file's name.
        heading: where its middle looks by its EXIF or XMP, or None.
        optics: what the file says of its projection.
    """

    pixels: Tensor
    position: tuple[float, float] | None = None
    note: str | None = None
    heading: Heading | None = None
    optics: Optics = Optics()


def read_photo(path: str | os.PathLike) -> Photo:
    """Read the image in a file, as the table of this module says.

    Raises:
        BadImageError: the image cannot be used.
    """
    try:
        status = os.stat(path)
        _refuse_by_status(status)
        with open(path, "rb") as file:
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise BadImageError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return decode_photo(data)


def decode_photo(data: bytes, most_pixels: int = MOST_PIXELS) -> Photo:
    """Decode the content of an image file.

    Args:
        data: the content.
        most_pixels: an image of more is refused before anything is decoded.

    Raises:
        BadImageError: the image cannot be used.
    """
    if not data:
        raise BadImageError("is empty")
    try:
        with open_image(data) as header:
            _refuse_by_header(header, most_pixels)
            pixels = decode_image(data)
            return Photo(pixels, *_position(header), *_looks(header, *pixels.shape[-2:]))
    except BadImageError:
        raise
    except Image.DecompressionBombError as error:
        raise BadImageError(f"has more than {MOST_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise BadImageError(NO_HEIF if _is_heif(data) else "is not an image of a known format") from error
    except MemoryError as error:
        raise BadImageError("does not fit into memory") from error
    except Exception as error:  # Pillow's readers raise a dozen types for damaged files
        raise BadImageError(f"is damaged ({str(error).rstrip('.') or type(error).__name__})") from error


def printable_name(path: str | os.PathLike) -> str:
    """Return a file's name as text that can be printed and written as UTF-8, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _refuse_by_status(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise BadImageError("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise BadImageError("is a pipe or a device and no file")
    if status.st_size > MOST_BYTES:
        raise BadImageError(f"is a file of {status.st_size / 2**30:.1f} GiB; cut it into tiles")


def _refuse_by_header(header: Image.Image, most_pixels: int) -> None:
    width, height = header.size
    if width * height > most_pixels:
        what = f"has {width:,} x {height:,} pixels, more than {most_pixels:,}"
        raise BadImageError(f"{what}; reduce it or cut it into tiles")
    if min(width, height) < SMALLEST:
        raise BadImageError(f"is {width} x {height} pixels, too small to show a place")
    if header.mode.startswith("F"):
        raise BadImageError("has floating-point pixels, which are no colours")


def _is_heif(data: bytes) -> bool:
    """Tell whether a file begins as one of High Efficiency pictures does, which Pillow may not know."""
    return data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def _position(header: Image.Image) -> tuple[tuple[float, float] | None, str | None]:
    """Return where the image was taken, and a note; a damaged EXIF block costs that, and not the picture."""
    try:
        return exif_position(header.getexif()), None
    except GeotagError as error:
        return None, f"has GPS coordinates that cannot be read: {error}"
    except Exception:  # as above: whatever a damaged block makes Pillow raise
        return None, None


def _looks(header: Image.Image, height: int, width: int) -> tuple[Heading | None, Optics]:
    """Return where the middle of a picture looks, and its projection; damaged metadata cost these, not the picture."""
    try:
        optics = read_optics(header, height, width)
        heading = exif_heading(header.getexif())
    except Exception:  # whatever a damaged block makes Pillow raise
        return None, Optics()
    if optics.pose is not None and isinstance(optics.projection, Equirectangular):
        heading = Heading((optics.pose + optics.projection.off) % 360, "true")
    return heading, optics
