"""Only a few formats are opened, whatever a file is called: Pillow knows some that start other programs."""

from __future__ import annotations

import ast
import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from trees import smooth_noise

import geodtr_plugin
from geodtr_plugin.datasets import ImageFiles
from geodtr_plugin.datasets.decode import FORMATS, decode_image
from geodtr_plugin.search.photos import BadImageError, decode_photo
from geodtr_plugin.utils.errors import DatasetCorruptError

PICTURE = Image.fromarray(smooth_noise("ground", 0, 32, 32))
OTHERS = ["DDS", "EPS", "ICO", "IM", "PCX", "PDF", "SGI", "TGA"]


def encode(format: str) -> bytes:
    stream = io.BytesIO()
    PICTURE.save(stream, format)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"])
def test_these_formats_are_read(format):
    pixels = decode_image(encode(format)).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(pixels - np.asarray(PICTURE)).mean() < 12


@pytest.mark.parametrize("format", OTHERS)
def test_other_formats_are_not_opened(tmp_path, monkeypatch, format):
    data = encode(format)

    def refuse(*_, **__):
        raise AssertionError("another program was started")

    for module, name in ((subprocess, "Popen"), (subprocess, "check_call"), (EpsImagePlugin, "Ghostscript")):
        monkeypatch.setattr(module, name, refuse)
    (tmp_path / "x.jpg").write_bytes(data)
    with pytest.raises(DatasetCorruptError, match=r"x\.jpg, is damaged \(it is not an image\)"):
        ImageFiles(tmp_path, ["x.jpg"]).read(0)
    with pytest.raises(BadImageError, match="is not an image"):
        decode_photo(data)


def test_a_plugin_that_is_not_installed_is_no_error(monkeypatch):
    Image.init()
    monkeypatch.setattr(Image, "OPEN", {name: Image.OPEN[name] for name in Image.OPEN if name not in ("AVIF", "WEBP")})
    assert decode_image(encode("PNG")).shape == (3, 32, 32)
    with pytest.raises(ValueError, match="not an image"):
        decode_image(b"nothing known")


def test_nothing_of_the_package_opens_an_image_without_naming_formats():
    guilty, opened = [], []
    for file in Path(geodtr_plugin.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                opened.append(file.name)
                guilty += [file] * ("formats" not in [keyword.arg for keyword in node.keywords])
            others = isinstance(node, ast.ImportFrom) and node.module == "PIL.Image"
            others |= isinstance(node, ast.Attribute) and node.attr in ("imread", "read_image", "default_loader")
            guilty += [file] * others
    assert guilty == [] and sorted(opened) == ["corruptions.py", "decode.py", "effects.py"]
    # the first and the last read JPEG that they have just made
    assert "EPS" not in FORMATS
