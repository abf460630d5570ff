"""Tiles that others have cut for maps, by zoom, column and row: a tree of files, or the table of an MBTiles file."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.errors import DamagedFileError, UserError
from ..photos import BadImageError, printable_name
from .options import DEEPEST

SQLITE_START = b"SQLite format 3\0"
TMS_FILE = "tilemapresource.xml"  # gdal2tiles writes it beside trees whose rows count from the south
_TILE = re.compile(r"(\d+)\.(?:png|jpe?g|webp)", re.IGNORECASE)


class TileStore(ABC):
    """Encoded tiles. Columns count from 180 degrees west and rows from the north, as in XYZ."""

    @abstractmethod
    def zooms(self) -> list[int]:
        """Return the zooms that there are, from the coarsest."""

    @abstractmethod
    def tiles(self, zoom: int) -> np.ndarray:
        """Return the tiles of a zoom, int64 `[N, 2]`, column and row."""

    @abstractmethod
    def data(self, zoom: int, column: int, row: int) -> bytes | None:
        """Return the image file of a tile, or None where there is none.

        Raises:
            BadImageError: it cannot be read; its text follows the tile's name.
        """

    @abstractmethod
    def name(self, zoom: int, column: int, row: int) -> str:
        """Return what messages call a tile."""

    @abstractmethod
    def state(self, zoom: int) -> Any:
        """Return what changes when a tile of a zoom does, as plain values."""


class TileTree(TileStore):
    """A folder `z/x/y.png`, `.jpg` or `.webp`.

    Args:
        root: the folder.
        tms: rows count from the south, as they do where gdal2tiles has left a tilemapresource.xml.
    """

    def __init__(self, root: Path, tms: bool = False):
        self.root, self.tms = root, tms or (root / TMS_FILE).is_file()
        self._files: dict[int, dict[tuple[int, int], str]] = {}

    @classmethod
    def is_at(cls, root: Path) -> bool:
        """Tell whether a folder holds such a tree."""
        return any(next(_files_of(root / str(zoom)), None) is not None for zoom in _numbers(root))

    def zooms(self) -> list[int]:
        return [zoom for zoom in _numbers(self.root) if next(_files_of(self.root / str(zoom)), None) is not None]

    def tiles(self, zoom: int) -> np.ndarray:
        return np.array(sorted(self._of(zoom)), np.int64).reshape(-1, 2)

    def data(self, zoom: int, column: int, row: int) -> bytes | None:
        file = self._of(zoom).get((column, row))
        try:
            return None if file is None else (self.root / file).read_bytes()
        except OSError as error:
            raise BadImageError(f"cannot be read ({error.strerror})") from error

    def name(self, zoom: int, column: int, row: int) -> str:
        return self._of(zoom).get((column, row), f"{zoom}/{column}/{row}")

    def state(self, zoom: int) -> Any:
        digest = hashlib.sha256()
        for _, file in sorted(self._of(zoom).items()):
            status = os.stat(self.root / file)
            digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def _of(self, zoom: int) -> dict[tuple[int, int], str]:
        """Return the files of a zoom, below the root, by column and row."""
        if zoom not in self._files:
            found = sorted(_files_of(self.root / str(zoom)), reverse=True)  # of two for one tile, the first by its name
            rows = [(column, 2**zoom - 1 - row if self.tms else row, name) for column, row, name in found]
            inside = [at for at in rows if 0 <= at[0] < 2**zoom > at[1] >= 0]
            self._files[zoom] = {(column, row): f"{zoom}/{column}/{name}" for column, row, name in inside}
        return self._files[zoom]


class MbTiles(TileStore):
    """An MBTiles file: a SQLite database whose rows count from the south, unless its metadata say scheme xyz.

    Args:
        file: the database.

    Raises:
        UserError: it is no such file, or holds a map of vectors.
    """

    def __init__(self, file: Path):
        self.file, self._lock = file, threading.Lock()
        try:
            uri = f"{file.absolute().as_uri()}?mode=ro"
            self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
            about = dict(self._database.execute("SELECT name, value FROM metadata"))
            self._zooms = [zoom for (zoom,) in self._database.execute("SELECT DISTINCT zoom_level FROM tiles")]
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        if about.get("format") == "pbf":
            what = f"{printable_name(file)} holds vectors of a map, and no pictures."
            raise UserError(what, "Name tiles of aerial pictures.")
        self._xyz = about.get("scheme") == "xyz"

    def zooms(self) -> list[int]:
        return sorted(zoom for zoom in self._zooms if isinstance(zoom, int) and 0 <= zoom <= DEEPEST)

    def tiles(self, zoom: int) -> np.ndarray:
        question = "SELECT DISTINCT tile_column, tile_row FROM tiles WHERE zoom_level = ?"
        try:
            found = np.array(self._database.execute(question, (zoom,)).fetchall(), np.int64).reshape(-1, 2)
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise self._damaged(error) from error
        found = found[((found >= 0) & (found < 2**zoom)).all(axis=1)]
        found[:, 1] = self._row(zoom, found[:, 1])
        return found[np.lexsort(found.T[::-1])]

    def data(self, zoom: int, column: int, row: int) -> bytes | None:
        question = "SELECT tile_data FROM tiles WHERE zoom_level = ? AND tile_column = ? AND tile_row = ?"
        try:
            with self._lock:
                found = self._database.execute(question, (zoom, column, self._row(zoom, row))).fetchone()
        except sqlite3.Error as error:
            raise BadImageError(f"cannot be read ({error})") from error
        if found is not None and not isinstance(found[0], bytes):
            raise BadImageError("is no picture")
        return None if found is None else found[0]

    def name(self, zoom: int, column: int, row: int) -> str:
        return f"tile {zoom}/{column}/{row} of {printable_name(self.file.name)}"

    def state(self, zoom: int) -> Any:
        status = os.stat(self.file)
        return [status.st_size, status.st_mtime_ns]

    def _row(self, zoom: int, row: Any) -> Any:
        return row if self._xyz else 2**zoom - 1 - row

    def _damaged(self, error: Exception) -> DamagedFileError:
        message = f"{printable_name(self.file)} cannot be read as MBTiles ({error})."
        return DamagedFileError(message, "Copy it again, or name another file.")


def is_mbtiles(file: Path) -> bool:
    """Tell whether a file is MBTiles, by its name or its content."""
    try:
        with file.open("rb") as stream:
            is_sqlite = stream.read(len(SQLITE_START)) == SQLITE_START
    except OSError:
        is_sqlite = False
    return file.suffix.lower() == ".mbtiles" or (is_sqlite and file.suffix.lower() != ".gpkg")


def _numbers(folder: Path) -> list[int]:
    """Return the names of subfolders that are zooms, from the least."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.isdecimal() and entry.is_dir()]
    except OSError:
        return []
    return sorted(int(name) for name in names if name == str(int(name)) and int(name) <= DEEPEST)


def _files_of(folder: Path) -> Iterator[tuple[int, int, str]]:
    """Return column, row and name of the tiles of one zoom."""
    try:
        columns = [entry.name for entry in os.scandir(folder) if entry.name.isdecimal() and entry.is_dir()]
    except OSError:
        return
    for column in sorted(columns):
        for entry in os.scandir(folder / column):
            if match := _TILE.fullmatch(entry.name):
                yield int(column), int(match[1]), entry.name
