"""How fast tiles are cut from a GeoTIFF, and in how much memory: `python benchmarks/tiles.py --help`.

    python benchmarks/tiles.py                      10,000 tiles of 70 m, half a minute
    python benchmarks/tiles.py --count 100000       11 km by 11 km: 2 gigapixels of 0.25 m, 0.6 GB on disk

The picture is made first: blocks of 512 pixels, JPEG inside, in UTM, with overviews or without. Tiles overlap by half,
so that each piece of the ground is in four. Bytes read are those of the whole process, as Linux counts them: about once
the file (or its overviews) where no block is read twice. --file measures a picture of one's own.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

import numpy as np  # noqa: E402

from geodtr_plugin.search.tile_sources.options import TileOptions  # noqa: E402
from geodtr_plugin.search.tile_sources.rasters import import_rasterio  # noqa: E402
from geodtr_plugin.search.tile_sources.tile_list import TileList  # noqa: E402

BLOCK = 512
CORNER = (691_000.0, 5_345_000.0)  # metres east and north in UTM zone 32: Munich


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print lines, and return 0."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(options.file) if options.file else write_picture(Path(folder) / "ground.tif", options)
        before, start = read_bytes(), time.perf_counter()
        tiles = TileList(file, TileOptions(options.metres, options.overlap), options.pixels)
        print(*tiles.notes, f"Listed in {time.perf_counter() - start:.1f} s.", flush=True)
        listed, start, worked, empty = peak(), time.perf_counter(), time.process_time(), 0
        for batch in tiles.reader(lambda pixels: pixels).batches(256, workers=options.workers):
            empty += sum(result.fault is not None for result in batch)
        seconds, count = time.perf_counter() - start, len(tiles.places)
        share = (read_bytes() - before) / file.stat().st_size
    print(
        f"{count:,} tiles ({empty:,} of them without data) in {seconds:.1f} s, {time.process_time() - worked:.1f} s of "
        f"them on a core: {count / seconds:,.0f} a second with {options.workers} threads.\n"
        f"Peak memory {peak() / 2**20:,.0f} MiB, {listed / 2**20:,.0f} MiB before the first. "
        f"Read {share:.2f} times the file's size."
    )
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=10_000, help="tiles, about")
    add("--metres", type=float, default=70.0, help="along a tile")
    add("--overlap", type=float, default=0.5, help="share of a tile's side that the next one shows again")
    add("--pixels", type=int, default=96, help="along a tile, as the network takes it")
    add("--resolution", type=float, default=0.25, help="metres along a pixel of the picture")
    add("--overviews", action="store_true", help="with smaller versions of the picture in the file, as a COG has them")
    add("--workers", type=int, default=0, help="threads that cut")
    add("--file", help="a GeoTIFF of one's own")
    add("--folder", help="where the temporary file goes")
    return parser.parse_args(arguments)


def write_picture(file: Path, options: argparse.Namespace) -> Path:
    """Write a GeoTIFF that so many tiles are cut from."""
    rasterio = import_rasterio()
    side = options.count**0.5 * options.metres * (1 - options.overlap) / options.resolution
    blocks, start = int(np.ceil(side / BLOCK)), time.perf_counter()
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (16, 3, BLOCK // 8, BLOCK // 8), dtype=np.uint8)
    textures = coarse.repeat(8, axis=2).repeat(8, axis=3)
    profile = {
        "width": blocks * BLOCK, "height": blocks * BLOCK, "count": 3, "dtype": "uint8", "crs": "EPSG:32632",
        "transform": rasterio.transform.from_origin(*CORNER, options.resolution, options.resolution), "tiled": True,
        "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "jpeg", "photometric": "ycbcr", "interleave": "pixel",
    }  # fmt: skip
    with rasterio.open(file, "w", driver="GTiff", **profile) as picture:
        for row in range(blocks):
            for column in range(blocks):
                window = rasterio.windows.Window(column * BLOCK, row * BLOCK, BLOCK, BLOCK)
                picture.write(textures[draw.integers(len(textures))], window=window)
    if options.overviews:
        with rasterio.open(file, "r+") as picture:
            picture.build_overviews([2, 4, 8, 16], rasterio.enums.Resampling.average)
    size, pixels = file.stat().st_size / 1e6, (blocks * BLOCK) ** 2 / 1e9
    print(f"Written {pixels:.2f} gigapixels, {size:,.0f} MB, in {time.perf_counter() - start:.0f} s.", flush=True)
    return file


def peak() -> int:
    """Return the most bytes of memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_bytes() -> float:
    """Return the bytes that this process has read; not a number where the system does not say."""
    try:
        lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    except OSError:
        return float("nan")
    return float(next(line.split()[1] for line in lines if line.startswith("rchar")))


if __name__ == "__main__":
    sys.exit(main())
