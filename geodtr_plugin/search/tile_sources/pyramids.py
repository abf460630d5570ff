"""Trees and MBTiles as sources: their tiles are the blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import UnidentifiedImageError

from ...datasets.decode import decode_image, open_image
from ...utils.errors import UserError
from ..photos import BadImageError
from .mercator import latitude_of, metres_a_pixel
from .source import Block, TileSource
from .stores import TileStore

FINE_ENOUGH = 0.75  # of the network's pixel, which then is a mean of pixels and no guess between two
MOST_SIDE = 4096  # pixels along a tile: 256 and 512 are usual
_TRIED = 100  # tiles that are looked at for one that can be read


class Pyramid(TileSource):
    """The tiles of one zoom.

    Args:
        store: where they are.
        metres_a_pixel: as fine as the zoom must be, if `zoom` is None; the deepest where none is.
        zoom: the zoom.

    Raises:
        UserError: there is no such zoom, or none of its tiles can be read.
    """

    def __init__(self, store: TileStore, metres_a_pixel: float, zoom: int | None = None):
        self.store, zooms = store, store.zooms()
        if not zooms or zoom not in (None, *zooms):
            what = f"There are no tiles of zoom {zoom}." if zooms else "There are no tiles of any zoom."
            raise UserError(what, f"There are {', '.join(map(str, zooms))}." if zooms else "")
        self.zoom = zooms[-1] if zoom is None else zoom
        self._blocks = store.tiles(self.zoom)
        self.side = self._measure(self._blocks)
        if zoom is None:
            latitude = float(latitude_of((np.median(self._blocks[:, 1]) + 0.5) / 2**self.zoom))
            self.zoom = coarsest(zooms, metres_a_pixel, latitude, self.side)
            self._blocks = store.tiles(self.zoom)

    def blocks(self) -> np.ndarray:
        return self._blocks

    def read(self, column: int, row: int) -> Block:
        try:
            data = self.store.data(self.zoom, column, row)
            return None if data is None else decode_block(data, self.side)
        except BadImageError as error:
            raise BadImageError(f"{self.store.name(self.zoom, column, row)}, which {error}") from error

    def state(self) -> Any:
        return self.store.state(self.zoom)

    def _measure(self, tiles: np.ndarray) -> int:
        """Return the pixels along a tile, by the first that can be read."""
        reason = "there are none"
        for column, row in tiles[:_TRIED].tolist():
            try:
                with open_image(self.store.data(self.zoom, column, row) or b"") as header:
                    if header.width == header.height <= MOST_SIDE:
                        return header.width
                    reason = f"they have {header.width} x {header.height} pixels"
            except UnidentifiedImageError:
                reason = "they are no images of a known format"
            except (OSError, SyntaxError, BadImageError) as error:
                reason = str(error)
        raise UserError(f"No tile of zoom {self.zoom} can be read ({reason}).", "Name a folder of square images.")


def coarsest(zooms: list[int], metres: float, latitude: float, side: int) -> int:
    """Return the first zoom whose pixels are about as small as wanted, or the last."""
    return next(
        (zoom for zoom in zooms if metres_a_pixel(latitude, zoom, side) <= FINE_ENOUGH * metres), zooms[-1]
    )  # fmt: skip


def decode_block(data: bytes, side: int) -> np.ndarray:
    """Decode a tile, uint8 `[side, side, 3]`, or 4 where it is transparent somewhere.

    Raises:
        BadImageError: it is damaged, or has another size.
    """
    try:
        with open_image(data) as image:
            if image.size != (side, side):
                raise BadImageError(f"has {image.width} x {image.height} pixels where others have {side} x {side}")
            if "A" in image.getbands() or "transparency" in image.info:
                pixels = np.asarray(image.convert("RGBA"))
                return pixels if (pixels[..., 3] < 255).any() else np.ascontiguousarray(pixels[..., :3])
        return np.ascontiguousarray(decode_image(data).permute(1, 2, 0).numpy())
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError("is not an image of a known format" if data else "is empty") from error
    except Exception as error:  # Pillow's readers raise a dozen types for damaged files
        raise BadImageError(f"is damaged ({str(error).rstrip('.') or type(error).__name__})") from error
