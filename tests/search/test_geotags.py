"""Coordinates in EXIF: those that are certain, or none and a reason; never another hemisphere's."""

from __future__ import annotations

import io
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.search.geotags import GeotagError, exif_position
from geodtr_plugin.search.index_folder import read_json_lines
from geodtr_plugin.search.photos import decode_photo

LAT, LON = (48.0, 30.0, 36.0), (11.0, 15.0, 0.0)  # 48.51, 11.25
ASCII, BYTE, SHORT, RATIONAL, UNDEFINED = 2, 1, 3, 5, 7
SIGNS = {"n": 1, "north": 1, "s": -1, "south": -1, "e": 1, "east": 1, "w": -1, "west": -1}


class Block:
    """Stands for Pillow's EXIF block."""

    def __init__(self, *tags):
        self.tags = {number: tag for number, tag in zip((1, 2, 3, 4), tags) if tag is not None}

    def get_ifd(self, number):
        return self.tags


def jpeg(*entries) -> bytes:
    """Encode a picture with a GPS directory of (tag, type, count, content), as bytes that Pillow would not write."""
    directory, content = struct.pack("<H", len(entries)), b""
    start = 26 + 2 + 12 * len(entries) + 4  # of what does not fit into an entry
    for tag, kind, count, data in entries:
        inside = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", start + len(content))
        content += data if len(data) > 4 else b""
        directory += struct.pack("<HHI", tag, kind, count) + inside
    head = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8825, 4, 1, 26, 0)
    stream = io.BytesIO()
    exif = b"Exif\0\0" + head + directory + bytes(4) + content
    Image.new("RGB", (32, 32), (90, 120, 60)).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def rationals(*pairs) -> bytes:
    return b"".join(struct.pack("<II", *pair) for pair in pairs)


LATITUDE = (2, RATIONAL, 3, rationals((48, 1), (30, 1), (36, 1)))
LONGITUDE = (4, RATIONAL, 3, rationals((11, 1), (15, 1), (0, 1)))
EAST = (3, ASCII, 2, b"E\0")


@pytest.mark.parametrize(
    "kind, text",
    [(ASCII, b"S\0"), (ASCII, b"S"), (ASCII, b"s\0"), (ASCII, b"S \0\0"), (ASCII, b"South\0"), (BYTE, b"S\0"),
     (UNDEFINED, b"S\0"), (UNDEFINED, b" s"), (BYTE, b"S\0\0\0\0\0")],
)  # fmt: skip
def test_a_reference_of_any_type_is_read(kind, text):
    photo = decode_photo(jpeg((1, kind, len(text), text), LATITUDE, EAST, LONGITUDE))
    assert photo.position == pytest.approx((-48.51, 11.25)) and photo.note is None


@pytest.mark.parametrize(
    "entry", [None, (1, ASCII, 1, b"\0"), (1, ASCII, 2, b"X\0"), (1, UNDEFINED, 2, b"\xff\0"), (1, SHORT, 1, b"S\0"),
              (1, ASCII, 2, b"E\0"), (1, ASCII, 3, b"NS\0")],
)  # fmt: skip
def test_a_reference_that_says_nothing_leaves_no_coordinates_and_is_named(entry):
    photo = decode_photo(jpeg(*[entry] * (entry is not None), LATITUDE, EAST, LONGITUDE))
    assert photo.position is None and "the latitude is marked" in photo.note and "neither north nor south" in photo.note


@given(st.one_of(st.text(max_size=6), st.binary(max_size=6), st.integers(), st.none(), st.floats(), st.sampled_from(
    [text.encode() + b"\0" for text in SIGNS] + [f" {text.upper()}\0" for text in SIGNS]
)))  # fmt: skip
def test_any_reference_gives_its_own_hemisphere_or_none(reference):
    text = reference.decode("latin-1") if isinstance(reference, bytes) else str(reference)
    word = text.strip(" \0\t\r\n").lower()
    for place, tags in (("ns", (reference, LAT, "E", LON)), ("ew", ("N", LAT, reference, LON))):
        known = word in SIGNS and word[0] in place and isinstance(reference, (str, bytes))
        if known:
            lat, lon = exif_position(Block(*tags))
            assert (lat if place == "ns" else lon) * SIGNS[word] > 0
        else:
            with pytest.raises(GeotagError, match="marked"):
                exif_position(Block(*tags))


@given(st.floats(0, 90), st.floats(0, 180), st.sampled_from("NS"), st.sampled_from("EW"))
def test_degrees_minutes_and_seconds_come_back_as_degrees(lat, lon, south, west):
    def parts(value):
        minutes = (value - int(value)) * 60
        return int(value), int(minutes), (minutes - int(minutes)) * 60

    found = exif_position(Block(south, parts(lat), west, parts(lon)))
    wanted = (lat if south == "N" else -lat, lon if west == "E" else -lon)
    assert (found is None) if lat == lon == 0 else found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    "lat",
    [(IFDRational(0, 0),) * 3, (48.0, 30.0, IFDRational(5, 0)), (math.nan, 0.0, 0.0), (math.inf, 0.0, 0.0),
     (-48.0, 0.0, 0.0), (90.0, 30.0, 0.0), (48.0, 61.0, 0.0), (48.0, 0.0, 3600.0), (1.0, 2.0, 3.0, 4.0), (), None,
     "48.5", b"48.5", ("48", "30", "36")],
)  # fmt: skip
def test_a_latitude_that_is_none_is_refused(lat):
    with pytest.raises(GeotagError, match="latitude"):
        exif_position(Block("N", lat, "E", LON))


def test_a_longitude_beyond_the_earth_is_refused():
    with pytest.raises(GeotagError, match="no place has"):
        exif_position(Block("N", LAT, "W", (180.0, 1.0, 0.0)))


@pytest.mark.parametrize("tags", [(), ("N", None, "E", None), ("N", (0.0,) * 3, "E", (0.0,) * 3), ("", (0,), "", (0,))])
def test_no_coordinates_are_no_mistake(tags):
    assert exif_position(Block(*tags)) is None


def test_short_forms_are_read():
    assert exif_position(Block("N", 48.5, "W", (11.0, 30.0))) == (48.5, -11.5)


def test_index_and_locate_name_the_photo_once(tmp_path, run, capsys):
    folder = tmp_path / "tiles"
    folder.mkdir()
    marks = {"good.jpg": b"S\0", "bad.jpg": b"X\0", "table.jpg": b"X\0"}
    for name, mark in marks.items():
        (folder / name).write_bytes(jpeg((1, ASCII, 2, mark), LATITUDE, EAST, LONGITUDE))
    table = folder / "places.csv"
    table.write_text("file,lat,lon\ngood.jpg,,\nbad.jpg,,\ntable.jpg,1,2\n", encoding="utf-8")
    words = ["build", "--run", str(run), "--references", str(table), "-o", str(tmp_path / "i"), "--device", "cpu"]
    assert index_command(words) == 0
    sentence = "Without coordinates: bad.jpg has GPS coordinates that cannot be read: the latitude is marked 'X'"
    printed = capsys.readouterr().err
    assert printed.count(sentence) == printed.count("Without coordinates:") == 1
    lines = {line["file"]: (line["lat"], line["lon"]) for line in read_json_lines(tmp_path / "i/references.jsonl")}
    assert lines == {"good.jpg": pytest.approx((-48.51, 11.25)), "bad.jpg": (None, None), "table.jpg": (1.0, 2.0)}
    photos = [str(folder / name) for name in ("good.jpg", "bad.jpg")]
    assert locate_command(["--index", str(tmp_path / "i"), *photos, "--device", "cpu"]) == 0
    assert capsys.readouterr().err.count("bad.jpg has GPS coordinates that cannot be read") == 1
