"""An image with an EXIF orientation is the same upright picture wherever the package reads it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps, features
from torch.utils.data import DataLoader

from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.datasets import ImageDataset, ImageFiles, PairDataset, Split
from geodtr_plugin.datasets.cache import cached
from geodtr_plugin.datasets.check.images import open_images
from geodtr_plugin.datasets.readable import readable
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.harness.pictures import _picture
from geodtr_plugin.search.contact_sheet import thumbnail
from geodtr_plugin.search.photos import read_photo

HEIGHT, WIDTH = 16, 24
RAMP = np.linspace(0, 255, WIDTH).astype(np.uint8)
PICTURE = Image.fromarray(  # no symmetry
    np.stack(np.broadcast_arrays(RAMP[None, :], RAMP[:HEIGHT, None] // 2 + 60, RAMP[None, ::-1] // 3 + 40), axis=2)
)
STORED = {  # how a picture must be stored so that the orientation makes it upright again
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def png_with_exif_last(image: Image.Image, exif: bytes) -> bytes:
    """Encode a PNG whose eXIf chunk comes after the pixels."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    body = b"eXIf" + exif.removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = stream.getvalue()
    return data[:-12] + chunk + data[-12:]


def encode(kind: str, image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "PNG, EXIF last":
        return png_with_exif_last(image, exif.tobytes())
    format, *rest = kind.split(", ")
    options: dict = {"exif": exif}
    if rest == ["XMP"]:
        options = {"xmp": XMP.format(orientation).encode()}
    elif rest == ["16 bits"]:
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif rest == ["CMYK"]:
        image = image.convert("CMYK")
    elif rest and format == "TIFF":
        options["compression"] = rest[0]
    if format in ("JPEG", "MPO"):
        options |= {"quality": 100, "subsampling": 0}
    if format == "MPO":
        options |= {"save_all": True, "append_images": [Image.new("RGB", image.size)]}
    if format == "WEBP":
        options["lossless"] = True
    if format == "AVIF":
        options |= {"quality": 100, "subsampling": "4:4:4"}
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


KINDS = [
    "JPEG", "JPEG, XMP", "JPEG, CMYK", "MPO", "PNG", "PNG, EXIF last", "PNG, 16 bits", "WEBP", "TIFF", "TIFF, tiff_lzw",
    "TIFF, 16 bits", "AVIF",
]  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request):
    if request.param == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    return request.param


def split_of(folder, orientation: int, kind: str) -> Split:
    stored = PICTURE if STORED[orientation] is None else PICTURE.transpose(STORED[orientation])
    (folder / "a.img").write_bytes(encode(kind, stored, orientation))
    images, place = ImageFiles(folder, ["a.img"]), np.zeros(1, int)
    return Split("tiny", "train", images, images, np.zeros((1, 2), int), place, place, Truth.diagonal(1))


@pytest.mark.parametrize("orientation", STORED)
def test_every_reader_gives_the_upright_picture(tmp_path, orientation, kind):
    split = split_of(tmp_path, orientation, kind)
    pixels = split.queries.read(0)
    wanted = np.asarray(PICTURE.convert("L").convert("RGB") if "16 bits" in kind else PICTURE).astype(int)
    assert pixels.shape == (3, HEIGHT, WIDTH) and pixels.dtype == torch.uint8
    assert abs(pixels.permute(1, 2, 0).numpy() - wanted).max() <= (8 if kind[:4] in ("JPEG", "MPO", "AVIF") else 0)
    with Image.open(tmp_path / "a.img") as image:
        theirs = ImageOps.exif_transpose(image)
        if "16 bits" not in kind:
            assert abs(np.asarray(theirs.convert("RGB")).astype(int) - pixels.permute(1, 2, 0).numpy()).max() <= 1

    size = ImageTransform(HEIGHT, WIDTH)
    kept = cached(split, size, size, folder=tmp_path / "cache")
    (loaded, _), = DataLoader(ImageDataset(split.queries), batch_size=1)
    others = {
        "training": PairDataset(split)[0][0], "test": loaded[0], "selection": split.queries.take([0]).read(0),
        "cache": kept.queries.read(0), "cache for training": PairDataset(kept, size, size)[0][1],
        "index": read_photo(tmp_path / "a.img").pixels,
        "contact sheet": torch.tensor(thumbnail(tmp_path / "a.img", 64)).permute(2, 0, 1),
        "examples": torch.from_numpy(_picture(split.queries, 0)).permute(2, 0, 1),
    }  # fmt: skip
    for reader, other in others.items():
        assert torch.equal(other, pixels), reader
    (checked,) = open_images([split], None)
    assert checked.size == (HEIGHT, WIDTH) and not checked.error
    assert readable(split)[1] == []


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_crop_and_the_size_before_it_are_of_the_upright_picture(tmp_path, orientation):
    split_of(tmp_path, orientation, "JPEG")
    images = ImageFiles(tmp_path, ["a.img"], rows=(0.25, 0.75))
    whole = images.whole(0)
    for some in (images, images.take([0])):
        assert torch.equal(some.whole(0), whole) and whole.shape == (3, HEIGHT, WIDTH)
        assert torch.equal(some.read(0), whole[:, HEIGHT // 4 : 3 * HEIGHT // 4])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_what_is_no_orientation_turns_nothing(tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    PICTURE.save(tmp_path / "a.img", format, exif=exif.tobytes(), **({"quality": 100} if format == "JPEG" else {}))
    pixels = ImageFiles(tmp_path, ["a.img"]).read(0).permute(1, 2, 0).numpy().astype(int)
    assert pixels.shape == (HEIGHT, WIDTH, 3) and abs(pixels - np.asarray(PICTURE)).max() <= 8


def test_a_damaged_exif_costs_no_picture(tmp_path, recwarn):
    PICTURE.save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff\xff\xff")
    recwarn.clear()  # those of the writing
    assert ImageFiles(tmp_path, ["a.jpg"]).read(0).shape == (3, HEIGHT, WIDTH)
    assert not [warning for warning in recwarn if warning.category is not DeprecationWarning]  # of torchvision
