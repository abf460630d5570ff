"""Tiles cut from every kind of source show the ground that they name."""

from __future__ import annotations

import mercantile
import numpy as np
import pytest
import rasterio
from cut_tiles import BORDER, DATE_LINE, MUNICH, PIXELS, REACH, SIDE, SYDNEY, check, results_of, tiles_of
from grounds import mercator_tile, moved, offset, tiles_around, wanted_tile, write_mbtiles, write_raster, write_tree
from PIL import Image

from geodtr_plugin.search.tile_sources.cutter import TileCutter

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
