"""Tiles cut from every kind of source show the ground that they name, or a sentence says why not."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import threading

import mercantile
import numpy as np
import pytest
import rasterio
from grounds import (
    mercator_tile,
    moved,
    offset,
    shift_between,
    tiles_around,
    wanted_tile,
    write_mbtiles,
    write_raster,
    write_tree,
)
from PIL import Image

from geodtr_plugin.search.photos import BadImageError
from geodtr_plugin.search.tile_sources.cutter import TileCutter
from geodtr_plugin.search.tile_sources.grid import grid_places, in_walking_order
from geodtr_plugin.search.tile_sources.opening import open_source
from geodtr_plugin.search.tile_sources.options import TileOptions
from geodtr_plugin.search.tile_sources.tile_list import TileList
from geodtr_plugin.utils.errors import DamagedFileError, UserError

MUNICH, SYDNEY, DATE_LINE, BORDER = (48.137, 11.575), (-33.86, 151.21), (-16.8, 180.0), (48.1, 12.0)
PIXELS, SIDE, REACH = 64, 40.0, 80  # of a tile: pixels and metres; metres around a place that pictures show


def tiles_of(path, metres: float = SIDE, **options) -> TileList:
    return TileList(path, TileOptions(metres, **options), PIXELS)


def results_of(tiles: TileList, workers: int = 0) -> list:
    return [result for batch in tiles.reader(lambda x: x).batches(7, workers=workers) for result in batch]


def check(tiles: TileList, place, fewest: int, metres: float = SIDE, most: float = 3.0) -> None:
    """Hold whole tiles against the ground, and demand so many around a place."""
    cuts = [(at, tiles.cutter.cut(at)) for at in tiles.places]
    whole = [(at, cut.pixels) for at, cut in cuts if cut.empty == 0]
    assert len(whole) >= fewest and np.abs(offset(tiles.places, place)).max() < 300
    for at, pixels in whole[:: max(1, len(whole) // 6)]:
        assert np.abs(shift_between(pixels, at, metres)).max() < 0.1  # metres
        assert np.abs(pixels.astype(float) - wanted_tile(at, metres, PIXELS)).mean() < most


RASTERS = {  # file, place, system, arguments
    "UTM": ("a.tif", MUNICH, "EPSG:32632", {}),
    "the next zone's": ("a.tif", MUNICH, "EPSG:32633", {}),
    "southern UTM": ("a.tif", SYDNEY, "EPSG:32756", {}),
    "degrees": ("a.tif", MUNICH, "EPSG:4326", {}),
    "Web Mercator": ("a.tif", MUNICH, "EPSG:3857", {"pixel": 0.45, "metres": 120}),
    "another ellipsoid": ("a.tif", MUNICH, "EPSG:31468", {}),
    "turned": ("a.tif", MUNICH, "EPSG:32632", {"turn": 31.0}),
    "turned degrees": ("a.tif", SYDNEY, "EPSG:4326", {"turn": 120.0}),
    "upside down": ("a.tif", MUNICH, "EPSG:32632", {"turn": 180.0}),
    "date line, zone 60": ("a.tif", DATE_LINE, "EPSG:32760", {}),
    "date line, zone 1": ("a.tif", DATE_LINE, "EPSG:32701", {}),
    "date line, beyond 180": ("a.tif", DATE_LINE, "EPSG:4326", {}),
    "date line, beyond -180": ("a.tif", DATE_LINE, "EPSG:4326", {"beyond": -360.0}),
    "tiled, compressed": ("a.tif", MUNICH, "EPSG:32632", {"tiled": True, "compress": "deflate"}),
    "COG": ("a.tif", MUNICH, "EPSG:32632", {"driver": "COG", "pixel": 0.2}),
    "JPEG with a world file": ("a.jpg", MUNICH, "EPSG:32632", {"driver": "JPEG", "worldfile": "YES", "quality": 97}),
}


@pytest.mark.parametrize("kind", RASTERS)
def test_rasters(kind, tmp_path):
    name, place, crs, arguments = RASTERS[kind]
    file = write_raster(tmp_path / name, place, crs=crs, **{"metres": REACH, "pixel": 0.3, **arguments})
    check(tiles_of(file), place, 15 if "turn" in arguments else 20)


@pytest.mark.parametrize("place", [MUNICH, SYDNEY, DATE_LINE])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tms", "mbtiles", "big"])
def test_trees_and_mbtiles(kind, place, tmp_path):
    if kind == "mbtiles":
        path = write_mbtiles(tmp_path / "a.mbtiles", place, REACH / 2, (18,), "jpg")
    else:
        suffix, side = kind if kind in ("jpg", "webp") else "png", 512 if kind == "big" else 256
        path = write_tree(tmp_path / "tree", place, REACH / 2, 17 if kind == "big" else 18, suffix, kind == "tms", side)
    check(tiles_of(path, overlap=0.2, tms=kind == "tms"), place, 4, most=6 if kind == "webp" else 3)


def test_what_gdal2tiles_leaves_says_that_rows_count_from_the_south(tmp_path):
    tree = write_tree(tmp_path, SYDNEY, REACH / 2, 18, tms=True)
    assert tiles_of(tree).places[:, 0].min() > 0  # a wrong place, which the printed sentence shows
    (tree / "tilemapresource.xml").write_text("<TileMap/>")
    check(tiles_of(tree), SYDNEY, 10)


def test_the_same_places_whatever_shows_them(tmp_path):
    tree = write_tree(tmp_path / "tree", MUNICH, REACH, 18)
    raster = write_raster(tmp_path / "a.tif", MUNICH, REACH, "EPSG:32633", 0.3)
    first, second = (set(tiles_of(path).files) for path in (tree, raster))
    assert second < first and len(second) > 50


def test_a_mosaic_over_a_border_of_zones(tmp_path):
    west, east = (moved(BORDER, np.array([x, 0.0])) for x in (-60, 60))
    write_raster(tmp_path / "west.tif", tuple(west), 70, "EPSG:32632", 0.3)
    (tmp_path / "deep").mkdir()
    write_raster(tmp_path / "deep/east.tif", tuple(east), 70, "EPSG:32633", 0.3)
    (tmp_path / "readme.txt").write_text("no picture")
    tiles = tiles_of(tmp_path)
    check(tiles, BORDER, 50)
    crossing = np.abs(offset(tiles.places, BORDER)).max(axis=1) < 30
    assert crossing.sum() >= 9 and all(tiles.cutter.cut(at).empty == 0 for at in tiles.places[crossing])


def test_the_first_picture_is_seen_and_the_next_in_its_holes(tmp_path):
    def hole(pixels):
        pixels = np.full_like(pixels, 200)
        pixels[200:300, 200:300] = 0
        return pixels

    write_raster(tmp_path / "a.tif", MUNICH, REACH, "EPSG:32632", 0.3, change=hole, nodata=0)
    write_raster(tmp_path / "b.tif", MUNICH, REACH + 20, "EPSG:32632", 0.3)
    source = tiles_of(tmp_path).source
    cut = TileCutter(source, 50, 100).cut(np.array(MUNICH))
    assert cut.empty == 0 and (cut.pixels[:8] == 200).all() and (cut.pixels[:, :8] == 200).all()
    inside = cut.pixels[40:60, 40:60].astype(float)
    assert np.abs(inside - wanted_tile(MUNICH, 50, 100)[40:60, 40:60]).mean() < 8


@pytest.mark.parametrize("how", ["nodata", "alpha", "mask", "grey"])
def test_nothing_is_shown_where_a_picture_has_nothing(how, tmp_path):
    def change(pixels):
        hole = np.zeros(pixels.shape[:2], bool)
        hole[:, : len(hole) // 2] = True  # the western half
        if how == "alpha":
            return np.dstack([pixels, np.where(hole, 0, 255).astype(np.uint8)])
        pixels = np.maximum(pixels, 1)
        pixels[hole] = 0
        if how == "grey":
            return pixels[..., :1]
        pixels[100:300, 300:320, 0] = 0  # one colour alone may be 0
        return pixels

    options = {"nodata": 0} if how in ("nodata", "grey") else {"photometric": "RGB"}
    options |= {"alpha": "YES"} if how == "alpha" else {}
    file = write_raster(tmp_path / "a.tif", MUNICH, REACH, "EPSG:32632", 0.3, change=change, **options)
    if how == "mask":
        with rasterio.open(file, "r+") as picture:
            mask = np.full(picture.shape, 255, np.uint8)
            mask[:, : picture.width // 2] = 0
            picture.write_mask(mask)
    tiles = tiles_of(file)
    for place in tiles.places:
        cut, (east, north) = tiles.cutter.cut(place), offset(place, MUNICH)
        if abs(north) < REACH - SIDE / 2 - 3 and abs(east) < REACH - SIDE / 2 - 3:
            assert cut.empty == pytest.approx(np.clip((SIDE / 2 - east) / SIDE, 0, 1), abs=0.06)
            if cut.empty < 1:
                filled = cut.pixels[:, : max(1, round(cut.empty * PIXELS) - 3)] if cut.empty > 0.1 else cut.pixels[:0]
                assert filled.size == 0 or np.ptp(filled, axis=(0, 1)).max() == 0  # one colour, that of the rest
    assert {result.fault for result in results_of(tiles)} == {None, "is mostly without data"}


def test_tiles_that_are_missing_and_tiles_that_are_transparent(tmp_path):
    tree = write_tree(tmp_path, MUNICH, REACH, 18)
    ((x, y),) = tiles_around(MUNICH, 0, 18)
    bounds = mercantile.bounds(x, y, 18)
    place = np.array([(bounds.south + bounds.north) / 2, (bounds.west + bounds.east) / 2])
    whole = tiles_of(tree)
    pixels = np.dstack([mercator_tile(18, x, y), np.full((256, 256), 255, np.uint8)])
    Image.fromarray(pixels).save(tree / f"18/{x}/{y}.png")  # alpha, but opaque
    np.testing.assert_array_equal(tiles_of(tree).cutter.cut(place).pixels, whole.cutter.cut(place).pixels)
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tree / f"18/{x}/{y}.png")
    tiles = tiles_of(tree)
    transparent = {tuple(at): tiles.cutter.cut(at) for at in tiles.places}
    assert len(transparent) == len(whole.places) and tiles.cutter.cut(place).empty == 1
    (tree / f"18/{x}/{y}.png").unlink()
    missing = tiles_of(tree)
    assert len(missing.places) < len(whole.places)
    for at in missing.places:
        first, second = transparent[tuple(at)], missing.cutter.cut(at)
        assert first.empty == second.empty
        np.testing.assert_array_equal(first.pixels, second.pixels)


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


def test_the_zoom_is_the_coarsest_that_is_as_fine_as_the_network(tmp_path):
    file = write_mbtiles(tmp_path / "a.mbtiles", MUNICH, 10, (16, 17, 18, 19))  # 1.6, 0.8, 0.4 and 0.2 m a pixel
    assert [tiles_of(file, metres).source.zoom for metres in (110.0, 52.0, 26.0, 10.0)] == [16, 17, 18, 19]
    assert tiles_of(file, zoom=17).source.zoom == 17


def counted(source):
    """Make a source count how often each block is read."""
    counts, read, lock = {}, source.read, threading.Lock()

    def reading(column, row):
        with lock:
            counts[column, row] = counts.get((column, row), 0) + 1
        return read(column, row)

    source.read = reading
    return counts


@pytest.mark.parametrize("workers", [0, 3])
def test_every_block_is_read_once_and_threads_change_nothing(workers, tmp_path):
    tree = write_tree(tmp_path, MUNICH, 120, 18)
    options = TileOptions(SIDE, 0.5)
    wanted = results_of(tiles_of(tree))
    source = open_source(tree, options, PIXELS).source
    counts = counted(source)
    tiles = tiles_of(tree)
    tiles.cutter = TileCutter(source, SIDE, PIXELS, capacity=3 * 256 * 256 * 3)
    results = results_of(tiles, workers)
    assert [result.number for result in results] == list(range(len(tiles.places)))
    for first, second in zip(wanted, results):
        assert first.position == second.position and first.fault == second.fault
        assert first.fault is not None or (first.pixels == second.pixels).all()
    assert sum(counts.values()) > len(counts)  # so small a memory forgets
    source = open_source(tree, options, PIXELS).source
    counts = counted(source)
    tiles.cutter = TileCutter(source, SIDE, PIXELS)
    results_of(tiles, workers)
    assert set(counts.values()) == {1} and len(counts) >= 20


def test_memory_is_bounded_and_strips_keep_reading_a_block_once_but_at_their_borders(tmp_path):
    tree = write_tree(tmp_path, MUNICH, 300, 19, "jpg")
    capacity, side = 20 * 256 * 256 * 3, 25.0
    source = open_source(tree, TileOptions(side, 0.5), PIXELS).source
    counts = counted(source)
    cutter = TileCutter(source, side, PIXELS, capacity)
    places = in_walking_order(grid_places(source.boxes(), side / 2), cutter.strip(side / 2))
    assert cutter.strip(side / 2) < 300
    sizes = []
    for place in places:
        cutter.cut(place)
        sizes.append(cutter._cache._size)
    assert max(sizes) <= capacity
    assert max(counts.values()) <= 2 and sum(counts.values()) <= 1.35 * len(counts)


def test_a_tile_again_for_people(tmp_path):
    tiles = tiles_of(write_tree(tmp_path, MUNICH, REACH, 19))
    picture = tiles.cutter.picture(np.array(MUNICH))
    assert picture.shape == (201, 201, 3)  # in the zoom's own resolution
    assert np.abs(shift_between(picture, MUNICH, SIDE)).max() < 0.1
    with pytest.raises(BadImageError, match="is mostly without data"):
        tiles.cutter.picture(np.array(SYDNEY))
    shutil.rmtree(tmp_path / "19")
    np.testing.assert_array_equal(tiles.cutter.picture(np.array(MUNICH)), picture)  # what was read is remembered
