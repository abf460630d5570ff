"""An image file as upright pixels: the one way to decode, for training, tests, caches, checks, indexes and pictures."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

# All that is ever opened: Pillow knows others which start a program (EPS: Ghostscript) or are hardly ever tested, and
# it looks at the content, so that x.jpg may be any of them. JPEG stands for MPO too; pillow-heif brings HEIF (HEIC).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "AVIF", "HEIF")
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# A marker with a segment behind it, or the end marker: compressed data holds neither, but FF 00 and restart markers.
_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
_END, _SCAN, _APP1 = 0xD9, 0xDA, 0xE1  # APP1 holds EXIF or XMP
_ORIENTATION = 0x0112
_IN_PLACE = {2: [-1], 3: [-2, -1], 4: [-2]}  # EXIF orientation: axes to mirror
_SIDEWAYS = {5: [], 6: [-1], 7: [-2, -1], 8: [-2]}  # the same after swapping the axes


@contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """Open an image file of one of the FORMATS with Pillow, whose header is read by that, and its pixels later."""
    _register()
    known = [name for name in FORMATS if name in Image.OPEN]
    with warnings.catch_warnings():  # Pillow warns of what is refused or accepted here anyway
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=known) as image:
            yield image


@cache
def _register() -> None:
    """Make Pillow know its own formats, and HEIF where pillow-heif is installed."""
    Image.init()
    with suppress(ImportError):
        import pillow_heif

        # a phone's picture brings a thumbnail and a depth map, which nobody looks at
        pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def decode_image(data: bytes) -> Tensor:
    """Decode an image file into uint8 `[3, H, W]`, turned and mirrored upright as its EXIF says.

    Grey and CMYK pictures become RGB, 16 bits a channel become 8.

    Raises:
        ValueError: the bytes are no complete image (never half a picture), too large a one, or hold no colours.
    """
    if not data:
        raise ValueError("the file is empty")
    try:
        if data.startswith(_JPEG_START):
            tagged = _has_exif(data)
            try:
                # 2.5 times as fast as PIL on a panorama of CVACT; the copy is because torch wants writable memory
                pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
            except RuntimeError:
                pass  # PIL reads some JPEGs that torchvision refuses, and says better what is wrong with the rest
            else:
                if not tagged:
                    return pixels
                with open_image(data) as header:
                    return upright(pixels, _orientation(header))
        return _decode_with_pil(data)
    except UnidentifiedImageError as error:
        raise ValueError("it is not an image") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except (OSError, SyntaxError) as error:  # PIL's word for a broken PNG is SyntaxError
        raise ValueError(str(error)) from error


def upright(pixels: Tensor, orientation: int) -> Tensor:
    """Undo an EXIF orientation, 1 to 8, of pixels `[3, H, W]` -> `[3, H, W]`, or `[3, W, H]` from 5 on."""
    if orientation in _IN_PLACE:
        return pixels.flip(_IN_PLACE[orientation])
    return pixels.mT.flip(_SIDEWAYS[orientation]) if orientation in _SIDEWAYS else pixels


def _has_exif(data: bytes) -> bool:
    """Tell whether a JPEG may have an orientation; refuse one that ends before its picture does.

    Decoders refuse such a file too, but PIL only as long as nobody has set its LOAD_TRUNCATED_IMAGES. Segments are
    passed over by their lengths, as thumbnails among them have end markers of their own.

    Raises:
        ValueError: it is truncated.
    """
    at, tagged = len(_JPEG_START), False
    while marker := _MARKER.search(data, at):
        at, kind = marker.end(), data[marker.end() - 1]
        # A file that ends as a JPEG does is a whole one, and need not be searched, which takes 2 % of the decoding.
        if kind == _END or (kind == _SCAN and data.endswith(_JPEG_END)):
            return tagged
        tagged |= kind == _APP1
        at += int.from_bytes(data[at : at + 2], "big")
    raise ValueError("the JPEG is truncated")


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, or that in XMP; 1 where it is damaged, which costs no picture."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever a damaged block makes Pillow raise
        return 1


def _decode_with_pil(data: bytes) -> Tensor:
    with open_image(data) as image:
        # A PNG may have its EXIF behind the pixels. A TIFF is turned by Pillow when it is loaded, and then has none.
        image.load()
        orientation = _orientation(image)
        if image.mode.startswith("I"):  # Pillow's own conversion clips them
            return upright(_scale_16_bits(image), orientation)
        return upright(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1), orientation)


def _scale_16_bits(image: Image.Image) -> Tensor:
    """Return grey pixels of 16 bits (or of 32 bits that use 16) as uint8 `[3, H, W]`."""
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65_535:
        raise ValueError("its pixels of 32 bits are no colours")
    if image.mode == "I" and grey.max() <= 255:  # 8-bit values in a wide type
        grey = grey * 257
    return torch.from_numpy((grey // 257).astype(np.uint8)).expand(3, -1, -1).clone()
