"""A JPEG ends where its own picture does: what lies behind it does no harm, and half a picture is never one."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import smooth_noise

from geodtr_plugin.datasets.decode import decode_image

PICTURE = Image.fromarray(smooth_noise("ground", 0, 40, 64))
MARKERS = [b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda", b"\xff\xda\x00\x0c", b"\xff\xe1\xff\xff", b"\xff\x00", b"\xff"]
MOVIE = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x01\x00mdat"


def encode(image: Image.Image = PICTURE, format: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def with_thumbnail(data: bytes) -> bytes:
    """Put a whole JPEG into a segment, as EXIF has it."""
    thumbnail = encode(PICTURE.resize((16, 10)))
    return data[:2] + b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"Exif\0\0" + thumbnail + data[2:]


PICTURES = {
    "baseline": encode(),
    "progressive": encode(progressive=True),
    "restart markers": encode(restart_marker_blocks=1),
    "grey": encode(PICTURE.convert("L")),
    "cmyk": encode(PICTURE.convert("CMYK")),
    "thumbnail": with_thumbnail(encode()),
    "thumbnail, progressive": with_thumbnail(encode(progressive=True)),
    "fill bytes": encode()[:-2] + b"\xff\xff\xff\xff\xd9",
}


@pytest.mark.parametrize("kind", PICTURES)
@given(tail=st.lists(st.one_of(st.sampled_from(MARKERS), st.binary(max_size=20)), max_size=8).map(b"".join))
def test_what_follows_the_picture_changes_nothing(kind, tail):
    data = PICTURES[kind]
    alone = decode_image(data)
    for behind in (tail, MOVIE + tail, tail + b"\xff\xd9"):
        assert torch.equal(decode_image(data + behind), alone)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("kind", PICTURES)
def test_every_truncation_is_refused(kind, lenient, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", lenient)
    data = PICTURES[kind]
    for length in range(1, len(data)):
        with pytest.raises(ValueError):
            decode_image(data[:length])
    for length in range(20, len(data), 50):  # a copy that was interrupted, on a disk that had reserved the space
        with pytest.raises(ValueError):
            decode_image(data[:length] + bytes(len(data) - length))


def test_of_an_mpo_the_first_picture_is_decoded_and_must_be_whole():
    mpo = encode(format="MPO", save_all=True, append_images=[Image.new("RGB", PICTURE.size)])
    first = np.asarray(Image.open(io.BytesIO(mpo)).convert("RGB"))
    second = mpo.rindex(b"\xff\xd8\xff")
    for length in (len(mpo), len(mpo) - 1, second + 100, second):
        assert np.array_equal(decode_image(mpo[:length]).permute(1, 2, 0), first)
    for length in range(second - 40, 2, -37):
        with pytest.raises(ValueError):
            decode_image(mpo[:length])
