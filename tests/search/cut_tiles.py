"""What the tests of cut tiles share: places, and how tiles are held against the ground."""

from __future__ import annotations

import numpy as np
from grounds import offset, shift_between, wanted_tile

from geodtr_plugin.search.tile_sources.options import TileOptions
from geodtr_plugin.search.tile_sources.tile_list import TileList

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
