"""Every line of the table in search/photos.py: decoded as it should look, or left out by name; never a traceback."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from geodtr_plugin.commands.index import index_command
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.search import photos
from geodtr_plugin.search.listing import list_images, list_photos
from geodtr_plugin.search.photos import BadImageError, decode_photo, printable_name, read_photo

RAMP = np.linspace(0, 255, 24).astype(np.uint8)
COLOURS = np.stack(np.broadcast_arrays(RAMP[None, :], RAMP[:16, None] // 2 + 60, RAMP[None, ::-1] // 3 + 40), axis=2)
PICTURE = Image.fromarray(np.ascontiguousarray(COLOURS))  # 16 rows, 24 columns, no symmetry


def encoded(image=PICTURE, format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixels(data):
    return decode_photo(data).pixels.permute(1, 2, 0).numpy().astype(int)


def exif_with(orientation=None, lat=None, lon=None, refs="NE"):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    if lat is not None:
        exif.get_ifd(0x8825).update({1: refs[0], 2: lat, 3: refs[1], 4: lon})
    return exif


def png_header(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


GREY = np.asarray(PICTURE.convert("L"))
TRANSPARENT = Image.merge("RGBA", [*PICTURE.split(), Image.new("L", PICTURE.size, 90)])
ANIMATION = {"save_all": True, "append_images": [Image.new("RGB", PICTURE.size)], "duration": 40}

DECODED = {
    "jpeg": (encoded(format="JPEG", quality=100, subsampling=0), COLOURS, 4),
    "cmyk jpeg": (encoded(PICTURE.convert("CMYK"), "JPEG", quality=100), COLOURS, 6),
    "grey": (encoded(PICTURE.convert("L")), GREY[..., None], 0),
    "one bit": (encoded(PICTURE.convert("1")), np.asarray(PICTURE.convert("1").convert("RGB")), 0),
    "palette": (encoded(PICTURE.quantize(256)), np.asarray(PICTURE.quantize(256).convert("RGB")), 0),
    "alpha": (encoded(TRANSPARENT), COLOURS, 0),
    "grey with alpha": (encoded(TRANSPARENT.convert("LA")), GREY[..., None], 1),
    "16 bits png": (encoded(Image.fromarray(GREY.astype(np.uint16) * 257)), GREY[..., None], 0),
    "16 bits tiff": (encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF"), GREY[..., None], 0),
    "32 bits that hold 8": (encoded(Image.fromarray(GREY.astype(np.int32)), "TIFF"), GREY[..., None], 0),
    "gif": (encoded(PICTURE.quantize(256), "GIF"), np.asarray(PICTURE.quantize(256).convert("RGB")), 0),
    "animation": (encoded(PICTURE, "GIF", **ANIMATION), COLOURS, 8),
    "animated webp": (encoded(PICTURE, "WEBP", lossless=True, **ANIMATION), COLOURS, 1),
    "pages": (encoded(PICTURE, "TIFF", save_all=True, append_images=[PICTURE.rotate(180)]), COLOURS, 0),
    "bmp": (encoded(format="BMP"), COLOURS, 0),
    "lab": (encoded(PICTURE.convert("LAB"), "TIFF"), COLOURS, 26),  # 8-bit LAB is coarse in the dark
}


@pytest.mark.parametrize("kind", DECODED)
def test_decoded_as_it_looks(kind):
    data, wanted, tolerance = DECODED[kind]
    found = pixels(data)
    assert found.shape == COLOURS.shape and decode_photo(data).pixels.dtype == torch.uint8
    assert abs(found - wanted).max() <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_undone(orientation, format):
    from PIL import ImageOps

    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "JPEG" else {}
    data = encoded(PICTURE, format, exif=exif_with(orientation), **options)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")).astype(int)
    assert wanted.shape[:2] == ((16, 24) if orientation < 5 else (24, 16))
    assert abs(pixels(data) - wanted).max() <= 4


REFUSED = {
    "text": (b"no image at all, but <html>", "is not an image of a known format"),
    "empty": (b"", "is empty"),
    "truncated jpeg": (encoded(format="JPEG")[:-40], "is damaged"),
    "truncated png": (encoded()[:-60], "is damaged"),
    "truncated gif": (encoded(format="GIF")[:-60], "is damaged"),
    "truncated webp": (encoded(format="WEBP")[:-20], "damaged|not an image"),
    "jpeg header alone": (encoded(format="JPEG")[:3], "damaged|not an image"),
    "1 x 1": (encoded(PICTURE.crop((0, 0, 1, 1))), "1 x 1 pixels, too small"),
    "7 x 16": (encoded(PICTURE.crop((0, 0, 7, 16))), "too small"),
    "bomb": (png_header(60_000, 60_000), "pixels"),
    "huge": (png_header(20_000, 9_000), "more than 178,956,970 pixels"),
    "no size": (png_header(0, 0), "damaged|not an image"),
    "floating point": (encoded(Image.fromarray(np.float32(GREY)), "TIFF"), "floating-point"),
    "32 bits": (encoded(Image.fromarray(GREY.astype(np.int32) * 90_000), "TIFF"), "32 bits"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_a_reason(kind, recwarn):
    data, reason = REFUSED[kind]
    with pytest.raises(BadImageError, match=reason):
        decode_photo(data)
    assert not recwarn.list


def test_truncated_stays_an_error_where_pillow_is_told_to_fill_up(monkeypatch):
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(BadImageError, match="truncated"):
        decode_photo(encoded(format="JPEG")[:-40])


def test_gps():
    data = encoded(format="JPEG", exif=exif_with(6, (48.0, 30.0, 36.0), (11.0, 0.0, 0.0), "SW"))
    assert decode_photo(data).position == pytest.approx((-48.51, -11.0))
    for lat, lon in (((0.0,) * 3, (0.0,) * 3), ((95.0, 0.0, 0.0), (1.0, 0.0, 0.0))):
        assert decode_photo(encoded(format="JPEG", exif=exif_with(1, lat, lon))).position is None
    zero = TiffImagePlugin.IFDRational(0, 0)
    assert decode_photo(encoded(format="JPEG", exif=exif_with(1, (zero,) * 3, (1.0, 0.0, 0.0)))).position is None


def test_damaged_exif_costs_coordinates_and_not_the_picture():
    data = encoded(format="JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff\xff\xff")
    assert decode_photo(data).position is None and pixels(data).shape == COLOURS.shape


@pytest.fixture
def zoo(tmp_path, tiles):
    """A folder with two good tiles and everything that cannot be read from a disk."""
    folder = tmp_path / "zoo"
    (folder / "sub").mkdir(parents=True)
    for name in ("good.png", "sub/good too.jpg"):  # the second is a PNG by its content
        (folder / name).write_bytes((tiles / "1.png").read_bytes())
    (folder / "text.jpg").write_text("hello")
    (folder / "empty.png").touch()
    (folder / "half.jpg").write_bytes(encoded(format="JPEG")[:-40])
    (folder / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "inside.png").write_bytes((tiles / "2.png").read_bytes())
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "sub" / "again").symlink_to(folder)
    (folder / "link.png").symlink_to(folder / "good.png")
    (folder / "notes.txt").write_text("notes")
    (folder / "._good.png").write_text("resource fork")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_a_folder_of_all_that_is_bad(zoo, run, tmp_path, capsys):
    words = ["build", "--run", str(run), "--references", str(zoo), "-o", str(tmp_path / "zoo.index"), "--device", "cpu"]
    assert index_command(words) == 0
    printed = capsys.readouterr()
    assert printed.out.strip().endswith("3 references indexed (flat), 8 left out.")
    for name, reason in {
        "text.jpg": "is not an image", "empty.png": "is empty", "half.jpg": "truncated", "bomb.png": "more than",
        "nowhere.png": "No such file", "circle.png": "symbolic links", "pipe.png": "pipe",
        "link.png": "is the same file as good.png",
    }.items():  # fmt: skip
        assert any(f"Left out: {name} " in line and reason in line for line in printed.err.splitlines()), name
    assert "2 other files" in printed.err and "3 of 3 references have no coordinates" in printed.err
    assert locate_command(["--index", str(tmp_path / "zoo.index"), str(zoo), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert "3 photos located among 3 references, 8 left out." in printed.err and "good.png" in printed.out


def test_unreadable_files_and_folders(tmp_path, monkeypatch):
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded())
    scandir, real = os.scandir, open

    def refuse(path, *rest, **options):  # permissions mean nothing to root, as which tests may run
        if str(path).endswith(("locked", "a.png")):
            raise PermissionError(13, "Permission denied", str(path))
        return (scandir if not rest else real)(path, *rest, **options)

    monkeypatch.setattr(photos, "open", refuse, raising=False)
    with pytest.raises(BadImageError, match="Permission denied"):
        read_photo(folder / "a.png")
    monkeypatch.setattr(os, "scandir", refuse)
    assert list_images(tmp_path).left_out == (("locked", "cannot be searched (Permission denied)"),)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_no_text(tmp_path, run, tiles, capsys):
    folder = os.fsencode(tmp_path / "names")
    os.mkdir(folder)
    for name, source in ((b"caf\xe9.png", "1.png"), ("\u732b <b>&.png".encode(), "2.png"), (b"bad\xff.jpg", "x")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write((tiles / source).read_bytes() if source != "x" else b"text")
    index = tmp_path / "names.index"
    assert index_command(["build", "--run", str(run), "--references", os.fsdecode(folder), "-o", str(index)]) == 0
    assert "bad\\xff.jpg is not an image" in capsys.readouterr().err
    assert locate_command(["--index", str(index), os.fsdecode(folder), "--format", "json"]) == 0
    assert '"path": "caf\\\\xe9.png"' in capsys.readouterr().out
    assert printable_name(b"caf\xe9") == "caf\\xe9"


def test_a_table_with_all_mistakes(tiles, run, tmp_path, capsys):
    table = tiles / "mine.csv"
    rows = ["Datei;Latitude;Longitude".replace("Datei", "file"), "0.png;48,1;11,5", "1.png;;", "2.png;95;11",
            "3.png;north;11", "gone.png;48;11", "0.png;48;11", "./1.png;48;11", "folder.jpg;48;11"]  # fmt: skip
    table.write_text("\ufeff" + "\r\n".join(rows), encoding="utf-8")
    (tiles / "folder.jpg").mkdir()
    words = ["build", "--run", str(run), "--references", str(table), "-o", str(tmp_path / "t.index")]
    assert index_command(words) == 0
    printed = capsys.readouterr()
    assert "4 references indexed (flat), 4 left out." in printed.out
    for sentence in ("Line 4 of", "Line 5 of", "gone.png is not there (line 6 of", "0.png is named twice (line 7",
                     "1.png is named twice (line 8", "folder.jpg is a folder", "3 of 4 references have no coordinates"):
        assert sentence in printed.err, sentence
    assert '"file": "0.png", "lat": 48.1, "lon": 11.5' in (tmp_path / "t.index/references.jsonl").read_text()


def test_a_photo_named_twice_is_answered_once(tiles):
    photos = list_photos([str(tiles / "1.png"), str(tiles / "1.png"), str(tiles)])
    assert len(photos.files) == 10
    assert [reason.split(" ")[1] for _, reason in photos.left_out] == ["named", "named"]


def test_nothing_that_can_be_used(tmp_path, run, tiles, capsys):
    (tmp_path / "none").mkdir()
    words = ["build", "--run", str(run), "-o", str(tmp_path / "no.index"), "--references"]
    assert index_command([*words, str(tmp_path / "none")]) == 1
    assert "No image of" in capsys.readouterr().err
    (tmp_path / "none" / "a.jpg").write_text("text")
    assert index_command([*words, str(tmp_path / "none")]) == 1
    assert "a.jpg is not an image" in capsys.readouterr().err
    assert index_command([*words, str(tmp_path / "nowhere")]) == 1
    assert "is not there" in capsys.readouterr().err
    assert not list(tmp_path.glob("no.index*"))
    assert index_command(["build", "--run", str(run), "-o", str(tmp_path / "i"), "--references", str(tiles)]) == 0
    assert locate_command(["--index", str(tmp_path / "i"), str(tmp_path / "none"), str(tmp_path / "missing.jpg")]) == 1
    printed = capsys.readouterr()
    assert "0 photos located" in printed.err and "missing.jpg cannot be read" in printed.err


def test_a_tile_that_is_not_square_does_not_suit_a_polar_view(tmp_path, polar_run, capsys):
    folder = tmp_path / "tiles"
    folder.mkdir()
    PICTURE.save(folder / "wide.png")
    for side in (40, 64):  # squares of two sizes in one batch
        PICTURE.resize((side, side)).save(folder / f"{side}.png")
    words = ["build", "--run", str(polar_run), "--references", str(folder), "-o", str(tmp_path / "p.index")]
    assert index_command(words) == 0
    printed = capsys.readouterr()
    assert "wide.png does not suit the model: The polar transform needs a square" in printed.err
    assert "2 references indexed" in printed.out
