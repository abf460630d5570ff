"""Every block is read once, in bounded memory, at the right zoom; threads change nothing."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from cut_tiles import MUNICH, PIXELS, REACH, SIDE, SYDNEY, results_of, tiles_of
from grounds import shift_between, write_mbtiles, write_raster, write_tree

from geodtr_plugin.search.photos import BadImageError
from geodtr_plugin.search.tile_sources import mosaic
from geodtr_plugin.search.tile_sources.cutter import TileCutter
from geodtr_plugin.search.tile_sources.grid import grid_places, in_walking_order
from geodtr_plugin.search.tile_sources.opening import open_source
from geodtr_plugin.search.tile_sources.options import TileOptions


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
    tree = write_tree(tmp_path, MUNICH, 200, 19, "jpg")
    capacity, side = 16 * 256 * 256 * 3, 30.0
    source = open_source(tree, TileOptions(side, 0.5), PIXELS).source
    counts = counted(source)
    cutter = TileCutter(source, side, PIXELS, capacity)
    places = in_walking_order(grid_places(source.boxes(), side / 2), cutter.strip(side / 2))
    assert cutter.strip(side / 2) < 200
    sizes = []
    for place in places:
        cutter.cut(place)
        sizes.append(cutter._cache._size)
    assert max(sizes) <= capacity
    assert max(counts.values()) <= 2 and sum(counts.values()) <= 1.35 * len(counts)


def test_rows_that_are_too_long_for_memory_are_named(tmp_path, monkeypatch):
    file = write_raster(tmp_path / "a.tif", MUNICH, REACH, "EPSG:32632", 0.3)
    assert tiles_of(file).source.notes == ()
    monkeypatch.setattr(mosaic, "GDAL_CACHE", 1)
    assert "a.tif is stored in rows too long" in tiles_of(file).notes[1]
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    assert tiles_of(write_raster(tmp_path / "b.tif", MUNICH, REACH, "EPSG:32632", 0.3, **layout)).source.notes == ()


def test_a_tile_again_for_people(tmp_path):
    tiles = tiles_of(write_tree(tmp_path, MUNICH, REACH, 19))
    picture = tiles.cutter.picture(np.array(MUNICH))
    assert picture.shape == (201, 201, 3)  # in the zoom's own resolution
    assert np.abs(shift_between(picture, MUNICH, SIDE)).max() < 0.1
    with pytest.raises(BadImageError, match="is mostly without data"):
        tiles.cutter.picture(np.array(SYDNEY))
    shutil.rmtree(tmp_path / "19")
    np.testing.assert_array_equal(tiles.cutter.picture(np.array(MUNICH)), picture)  # what was read is remembered


def test_the_zoom_is_the_coarsest_that_is_as_fine_as_the_network(tmp_path):
    file = write_mbtiles(tmp_path / "a.mbtiles", MUNICH, 10, (16, 17, 18, 19))  # 1.6, 0.8, 0.4 and 0.2 m a pixel
    assert [tiles_of(file, metres).source.zoom for metres in (140.0, 70.0, 35.0, 15.0)] == [16, 17, 18, 19]
    assert tiles_of(file, zoom=17).source.zoom == 17
