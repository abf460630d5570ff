"""From a path to its source of tiles: what lies there says of which kind it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ...utils.errors import DatasetNotFoundError, UserError
from ...utils.paths import is_hidden, walk_files
from ..photos import BadImageError, printable_name
from .options import TileOptions
from .source import TileSource
from .stores import MbTiles, TileStore, TileTree, is_mbtiles

RASTERS = (".tif", ".tiff", ".jp2")  # suffixes that are taken from folders as they are
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # and those that need a world file or GDAL's .aux.xml beside them
KINDS = "Name a z/x/y folder of tiles, an .mbtiles file, a GeoTIFF, or a folder of GeoTIFFs."


@dataclass(frozen=True, eq=False)
class Opened:
    """A source, and (name, reason) of files that are not in it."""

    source: TileSource
    left_out: tuple[tuple[str, str], ...] = ()


def open_source(where: Path, options: TileOptions, pixels: int) -> Opened:
    """Open what tiles are cut from.

    Args:
        where: a z/x/y folder, an MBTiles file, a georeferenced picture or a folder of them.
        options: what is to be cut.
        pixels: along a tile that the network sees: no finer blocks are read.

    Raises:
        UserError: there is nothing that tiles can be cut from, or it needs a library.
    """
    if not os.path.exists(where):
        raise DatasetNotFoundError(f"{printable_name(where)} is not there.", KINDS)
    metres = options.metres / pixels
    if where.is_dir() and TileTree.is_at(where):
        return _open_store(TileTree(where, options.tms), options, metres)
    if where.is_file() and is_mbtiles(where):
        return _open_store(MbTiles(where), options, metres)
    for name, value in (("--zoom", options.zoom is not None), ("--tms", options.tms)):
        if value:
            raise UserError(f"{name} is for z/x/y trees, and {printable_name(where)} is none.", "Leave it out.")
    return _open_rasters(where, options, metres)


def looks_like_source(where: Path) -> bool:
    """Tell whether a path, named without --tile-metres, is one that tiles are cut from."""
    if where.is_dir():
        return TileTree.is_at(where)
    return where.is_file() and (is_mbtiles(where) or where.suffix.lower() in (*RASTERS, ".vrt"))


def _open_store(store: TileStore, options: TileOptions, metres: float) -> Opened:
    from .pyramids import Pyramid

    if options.crs is not None:
        raise UserError("--crs is for pictures; z/x/y trees are in Web Mercator.", "Leave it out.")
    return Opened(Pyramid(store, metres, options.zoom))


def _open_rasters(where: Path, options: TileOptions, metres: float) -> Opened:
    from .mosaic import Mosaic
    from .rasters import describe, import_rasterio, named_system

    import_rasterio()
    if options.crs is not None:
        named_system(options.crs)
    rasters, left_out = [], []
    for path, name in _pictures(where):
        try:
            rasters += describe(path, name, options.crs)
        except BadImageError as error:
            left_out.append((name, str(error)))
    if rasters:
        return Opened(Mosaic(rasters, metres), tuple(left_out))
    if where.is_file():
        raise UserError(f"{printable_name(where)} {left_out[0][1]}.", KINDS)
    first = f" {printable_name(left_out[0][0])} {left_out[0][1]}." if left_out else ""
    raise UserError(f"{printable_name(where)} holds nothing that tiles can be cut from.{first}", KINDS)


def _pictures(where: Path) -> list[tuple[Path, str]]:
    """Return path and name of each picture that may say where it lies."""
    if where.is_file():
        return [(where, where.name)]
    names = sorted(name for name in walk_files(where) if not is_hidden(name))
    return [(where / name, name) for name in names if _may_be_placed(where / name)]


def _may_be_placed(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix not in PICTURES:
        return suffix in RASTERS
    worlds = (f"{suffix[:2]}{suffix[-1]}w", f"{suffix}w", ".wld", f"{suffix}.aux.xml")  # .jpg: .jgw, .jpgw
    return any(path.with_suffix(world).is_file() or path.with_suffix(world.upper()).is_file() for world in worlds)
