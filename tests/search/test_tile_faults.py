"""What is damaged, missing, or says too little: a sentence each, and the rest is right."""

from __future__ import annotations

import sqlite3
import sys

import numpy as np
import pytest
import rasterio
from cut_tiles import MUNICH, REACH, check, results_of, tiles_of
from grounds import tiles_around, write_mbtiles, write_raster, write_tree
from PIL import Image

from geodtr_plugin.utils.errors import DamagedFileError, UserError


@pytest.mark.parametrize("damage", ["truncated", "size", "text", "empty"])
def test_a_damaged_tile_costs_the_tiles_that_lie_on_it(damage, tmp_path):
    tree = write_tree(tmp_path, MUNICH, REACH, 18)
    ((x, y),) = tiles_around(MUNICH, 0, 18)
    file, sound = tree / f"18/{x}/{y}.png", results_of(tiles_of(tree))
    if damage == "size":
        Image.new("RGB", (128, 128)).save(file)
    else:
        file.write_bytes({"truncated": file.read_bytes()[:5000], "text": b"<html>", "empty": b""}[damage])
    results = results_of(tiles_of(tree))
    faults = [result.fault for result in results if result.fault not in (None, "is mostly without data")]
    assert len(results) > len(faults) > 20
    assert all(fault.startswith(f"lies on 18/{x}/{y}.png, which ") for fault in faults) and len(set(faults)) == 1
    for result in results:
        if result.fault is None:
            assert (result.pixels == sound[result.number].pixels).all()


def test_a_damaged_geotiff(tmp_path):
    file = write_raster(tmp_path / "a.tif", MUNICH, 200, "EPSG:32632", 0.3, tiled=True, compress="deflate")
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = np.random.default_rng(0).bytes(20_000)
    file.write_bytes(data)
    faults = {result.fault for result in results_of(tiles_of(file, overlap=0))}
    assert {None, "lies on a.tif, which is damaged (TIFFReadEncodedTile() failed)"} <= faults
    file.write_bytes(data[:100])
    with pytest.raises(UserError, match="a.tif is no picture that GDAL reads"):
        tiles_of(file)
    write_raster(tmp_path / "b.tif", MUNICH, REACH, "EPSG:32632", 0.3)
    ((name, reason),) = tiles_of(tmp_path).left_out
    assert name == "a.tif" and reason.startswith("is no picture that GDAL reads")


def test_a_damaged_database(tmp_path):
    file = write_mbtiles(tmp_path / "a.mbtiles", MUNICH, REACH, (17, 18))
    with pytest.raises(UserError, match="There are no tiles of zoom 16. There are 17, 18."):
        tiles_of(file, zoom=16)
    with sqlite3.connect(file) as database:
        database.execute("UPDATE metadata SET value = 'pbf' WHERE name = 'format'")
    with pytest.raises(UserError, match="holds vectors of a map"):
        tiles_of(file)
    with sqlite3.connect(file) as database:
        database.execute("DROP TABLE tiles")
    with pytest.raises(DamagedFileError, match="cannot be read as MBTiles .no such table"):
        tiles_of(file)
    file.write_bytes(b"SQLite format 3\0" + bytes(500))
    with pytest.raises(DamagedFileError, match="cannot be read as MBTiles"):
        tiles_of(file)


REFUSED = {
    "has pixels of uint16": {"change": lambda pixels: pixels.astype(np.uint16)},
    "has pixels of float32": {"change": lambda pixels: pixels.astype(np.float32)[..., :1]},
    "has a palette": {"change": lambda pixels: pixels[..., :1], "photometric": "PALETTE"},
    "reaches beyond 85 degrees": {"place": (89.0, 10.0), "crs": "EPSG:3413"},
    "lies nowhere on Earth": {"beyond": 7000.0, "crs": "EPSG:4326"},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_a_picture_must_be(sentence, tmp_path):
    arguments = {"place": MUNICH, "metres": 10, "crs": "EPSG:32632", "pixel": 0.5, **REFUSED[sentence]}
    with pytest.raises(UserError, match=sentence):
        tiles_of(write_raster(tmp_path / "a.tif", **arguments))


def test_a_picture_that_does_not_say_where_it_lies(tmp_path):
    file = write_raster(tmp_path / "a.png", MUNICH, REACH, "EPSG:32632", 0.3, driver="PNG", worldfile="YES")
    (tmp_path / "a.png.aux.xml").unlink()
    with pytest.raises(UserError, match="does not say its coordinate reference system: name it, such as --crs EPSG"):
        tiles_of(file)
    with pytest.raises(UserError, match="--crs is 'EPSG:1', which is no coordinate"):
        tiles_of(file, crs="EPSG:1")
    check(tiles_of(tmp_path, crs="EPSG:32632"), MUNICH, 20)
    (tmp_path / "a.prj").write_text(rasterio.crs.CRS.from_epsg(32632).to_wkt())
    check(tiles_of(file), MUNICH, 20)
    (tmp_path / "a.wld").unlink()
    with pytest.raises(UserError, match="does not say where it lies"):
        tiles_of(file)
    with pytest.raises(UserError, match="holds nothing that tiles can be cut from. Name a z/x/y folder"):
        tiles_of(tmp_path)  # a PNG without a world file is none of its pictures
    with pytest.raises(UserError, match="nowhere is not there"):
        tiles_of(tmp_path / "nowhere")


def test_options_of_another_kind_of_source(tmp_path):
    tree = write_tree(tmp_path / "tree", MUNICH, 10, 18)
    raster = write_raster(tmp_path / "a.tif", MUNICH, 10, "EPSG:32632", 0.5)
    for path, options, sentence in (
        (tree, {"crs": "EPSG:4326"}, "--crs is for pictures"), (raster, {"zoom": 18}, "--zoom is for z/x/y trees"),
        (raster, {"tms": True}, "--tms is for z/x/y trees"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            tiles_of(path, **options)


def test_without_rasterio_a_sentence_says_what_to_install_and_trees_need_it_not(tmp_path, monkeypatch):
    raster = write_raster(tmp_path / "a.tif", MUNICH, 10, "EPSG:32632", 0.5)
    tree = write_tree(tmp_path / "tree", MUNICH, 10, 18)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(UserError, match=r'pip install "geodtr_plugin\[tiles\]"'):
        tiles_of(raster)
    assert len(tiles_of(tree).places)
