"""The tiles of a source as references: what is there to be embedded, batch by batch."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..area import Area
from ..photo_reader import ReadResult
from ..photos import BadImageError, printable_name
from .cutter import EMPTY, MOST_EMPTY, TileCutter
from .grid import clip_to_area, grid_places, in_walking_order
from .mercator import metres_a_pixel
from .opening import open_source
from .options import TileOptions

AHEAD = 3  # batches that threads cut in advance


class TileList:
    """The tiles that are cut from a source, in walking order.

    Args:
        where: a z/x/y folder, an MBTiles file, a georeferenced picture or a folder of them.
        options: what is cut.
        pixels: along a tile.

    Attributes:
        root: the source.
        places: latitude and longitude in degrees of the tiles' centres, float64 `[N, 2]`.
        files: their names: both numbers, to the centimetre.

    Raises:
        UserError: there is nothing that tiles can be cut from, or no tile.
    """

    positions: dict[str, tuple[float, float]] = {}  # as of files that a table names: here every tile brings its own

    def __init__(self, where: str | os.PathLike, options: TileOptions, pixels: int):
        self.root, self.options, self.pixels = Path(where).expanduser(), options, pixels
        opened = open_source(self.root, options, pixels)
        self.source, self.left_out = opened.source, opened.left_out
        self.cutter = TileCutter(self.source, options.metres, pixels)
        self.places = _places(self.cutter, options)
        self.files = _Names(self.places)
        self.notes = (self._note(), *self.source.notes) if len(self.places) else ()

    def reader(self, on_load: Callable[[Tensor], Tensor]) -> TileReader:
        """Return what cuts the tiles, and gives each the size in which it goes to the device."""
        return TileReader(self.cutter, self.places, on_load)

    def state(self) -> dict[str, Any]:
        """Return all that the tiles depend on, as plain values."""
        known = {"root": str(self.root.absolute()), "source": self.source.state(), "count": len(self.places)}
        return {**known, **self.described()}

    @cached_property
    def _stamp(self) -> str:
        return json.dumps(self.source.state())

    def stamp(self, number: int) -> str:
        """Return the state of the source, which is that of each tile."""
        return self._stamp

    def described(self) -> dict[str, Any]:
        """Return what a manifest says of the tiles, by which `open_cutter` cuts them again."""
        return {"tiles": {"options": asdict(self.options), "pixels": self.pixels}}

    def _note(self) -> str:
        first, last = (f"{lat:.5f}, {lon:.5f}" for lat, lon in self.places[[0, -1]].tolist())
        metres = metres_a_pixel(float(self.places[:, 0].mean()), self.source.zoom, self.source.side)
        return (
            f"Tiles of {self.options.metres:g} m, {self.options.step:g} m apart, are cut from "
            f"{printable_name(self.root.name)} (zoom {self.source.zoom}, {metres:.2g} m a pixel): {len(self.places):,} "
            f"from {first} to {last}."
        )


class TileReader:
    """Cut tiles by their numbers.

    Args:
        cutter: cuts them.
        places: latitude and longitude in degrees of their centres, `[N, 2]`.
        on_load: `ImageTransform.on_load` of the references.
    """

    def __init__(self, cutter: TileCutter, places: np.ndarray, on_load: Callable[[Tensor], Tensor]):
        self.cutter, self.places, self.on_load = cutter, places, on_load

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> ReadResult:
        position = tuple(self.places[number].tolist())
        try:
            cut = self.cutter.cut(self.places[number])
            if cut.empty > MOST_EMPTY:
                return ReadResult(number, position=position, fault=EMPTY)
            return ReadResult(number, self.on_load(torch.tensor(cut.pixels).permute(2, 0, 1)), position)
        except BadImageError as error:
            return ReadResult(number, position=position, fault=f"lies on {error}")

    def batches(
        self, batch_size: int, numbers: Sequence[int] | None = None, workers: int = 0
    ) -> Iterator[list[ReadResult]]:
        """Return lists of at most `batch_size` results, in order.

        Args:
            batch_size: tiles in a list.
            numbers: of the tiles, rising; None: all.
            workers: threads that cut ahead; they share the blocks, so that each is still read once. 0 cuts when asked.
        """
        numbers = range(len(self)) if numbers is None else numbers
        batches = (numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size))
        if not workers:
            yield from ([self[number] for number in batch] for batch in batches)
            return
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque = deque()
            try:
                for batch in batches:
                    waiting.append([pool.submit(self.__getitem__, number) for number in batch])
                    if len(waiting) > AHEAD:
                        yield [future.result() for future in waiting.popleft()]
                while waiting:
                    yield [future.result() for future in waiting.popleft()]
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


class _Names(Sequence):
    """A name for each place, made when it is asked for: millions of them need no memory."""

    def __init__(self, places: np.ndarray):
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: Any) -> Any:
        lat, lon = self._places[number].tolist()
        return f"{lat:.7f}_{lon:.7f}"


def open_cutter(root: Path, tiles: Mapping[str, Any]) -> TileCutter:
    """Return what cuts the tiles of an index again, from what its manifest says.

    Raises:
        UserError: the source has gone, or the manifest says something else.
    """
    options = TileOptions(**tiles["options"])
    return TileCutter(open_source(root, options, tiles["pixels"]).source, options.metres, tiles["pixels"])


def _places(cutter: TileCutter, options: TileOptions) -> np.ndarray:
    """Return the centres of the tiles that the source may show."""
    boxes, area = cutter.source.boxes(), None if options.area is None else Area.parse(options.area)
    if area is not None:
        boxes = clip_to_area(boxes, area)
    places = grid_places(boxes, options.step)
    if area is not None:
        places = places[area.holds(places)]
    return in_walking_order(places[cutter.source.holds(places)], cutter.strip(options.step))
