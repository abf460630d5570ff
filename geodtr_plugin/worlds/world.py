"""Cross-view worlds: panoramas, aerial tiles, and which belongs to which."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np

from ..utils.errors import UnknownNameError, UserError
from .builder import SCENE_SIZE
from .looks import LOOKS, seen_at
from .rendered import Rendered
from .scene import Camera, Scene
from .shoot import Shoot, WideShoot
from .spec import LATER, ArrayShape, Spec
from .styles import Style
from .tiles import TILES, covering_tiles, tile_centres
from .wide_style import widen

_CAMERAS = 28  # panoramas from one scene of a wide world: fewer than in a plain one, for more scenes
_LOOK = 4  # stream of random numbers; for the others see `shoot`


@dataclass(frozen=True)
class WorldSpec(Spec):
    """A request for panoramas and aerial tiles. For the other arguments and errors see `Spec`.

    Args:
        panorama_size: (height, width) in pixels; the full circle by 65.5 degrees, whatever the size.
        aerial_size: pixels along a tile; it shows 72 m.
        offset: tiles on a grid whose step is half a tile and panoramas anywhere in them, instead of one tile centred
            on each panorama.
        wide: scenes, cameras and captures vary widely around the style, in metres along a tile and field of view too
            (see `Spans`); not together with `offset`.
        seen: name of a look (see `LOOKS`) that the panoramas are taken at; "" is the scene's own. Places, recorded
            positions and truth stay what they are, and tiles too, but at looks of another year.
    """

    panorama_size: tuple[int, int] = (64, 176)
    aerial_size: int = 96
    offset: bool = False
    wide: bool = field(default=False, kw_only=True, metadata=LATER)
    seen: str = field(default="", kw_only=True, metadata=LATER)

    image_words: ClassVar[Mapping[str, str]] = {"query": "ground", "reference": "aerial"}

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "panorama_size", tuple(int(side) for side in self.panorama_size))
        if len(self.panorama_size) != 2 or min(*self.panorama_size, self.aerial_size) < 4 or self.aerial_size > 512:
            raise UserError(f"Cannot render panoramas of {self.panorama_size} and tiles of {self.aerial_size} pixels.")
        if self.seen and self.seen not in LOOKS:
            raise UnknownNameError("look of a world", self.seen, LOOKS)
        if self.offset and self.wide:
            raise UserError("A world is wide or has an offset, not both.", "Leave one of the two out.")

    @property
    def title(self) -> str:
        """Style and kind of the world."""
        return self.style + "-offset" * self.offset + "-wide" * self.wide

    @property
    def cameras(self) -> int:
        """Queries that are taken in one scene."""
        return _CAMERAS if self.wide else super().cameras

    def look(self, number: int) -> Style:
        """Return the look of scene `number`: that of the world, or in a wide world one of its own."""
        style = super().look(number)
        return widen(style, self.rng(number, zlib.crc32(self.style.encode()), _LOOK)) if self.wide else style

    def shoot(self, number: int) -> Shoot:
        """Return how the pictures of scene `number` are taken."""
        request = self.panorama_size, self.aerial_size, self.realism
        if self.wide:
            style = zlib.crc32(self.style.encode())  # another style is seen by other cameras
            return WideShoot(*request, partial(self.rng, number, style), self.look(number))
        return Shoot(*request, partial(self.rng, number))

    def extent(self, number: int) -> dict[str, float]:
        """Return size, cell and margin of scene `number` in metres; see `make_scene`."""
        shoot = self.shoot(number)
        return {"size": shoot.size, "cell": shoot.cell, "margin": shoot.margin}

    def arrays(self) -> dict[str, ArrayShape]:
        """Return shapes and dtypes of the rendered arrays; for their meaning see `World`."""
        tiles = self.scenes * TILES if self.offset else self.count
        return {
            "query_images": ((self.count, *self.panorama_size, 3), np.uint8),
            "query_positions": ((self.count, 2), np.float64),
            "reference_images": ((tiles, self.aerial_size, self.aerial_size, 3), np.uint8),
            "reference_positions": ((tiles, 2), np.float64),
            "truth": ((self.count, 4 if self.offset else 1), np.int64),
        }

    def render_scene(self, number: int, arrays: dict[str, np.ndarray]) -> int:
        """Draw scene `number`, fill its rows of the arrays, and return how many panoramas these are."""
        scene, queries, shoot = self.draw_scene(number), self.queries_of(number), self.shoot(number)
        seen = self.draw_scene(number, seen_at(self.look(number), self.seen)) if self.seen else scene
        shifts: list[tuple[float, float]] = []
        for item, (query, camera) in enumerate(zip(queries, scene.cameras)):  # the places stay, whatever is seen there
            arrays["query_images"][query], shift = shoot.panorama(seen, camera, item)
            shifts.append(shift)
        if self.offset:
            first_tile, centres = number * TILES, tile_centres(scene.cell)
            places = [np.add(scene.position(camera), shift) for camera, shift in zip(scene.cameras, shifts)]
            truth = [first_tile + covering_tiles(east, SCENE_SIZE - north) for east, north in places]
        else:
            first_tile = queries.start
            centres = [_recorded(scene, camera, shift) for camera, shift in zip(scene.cameras, shifts)]
            places = [np.array(scene.position(centre)) for centre in centres]
            truth = [[query] for query in queries]
        rows = slice(queries.start, queries.stop)
        arrays["truth"][rows], arrays["query_positions"][rows] = truth, self.origin(number) + places
        from_above = shoot.from_above(seen if self.seen and LOOKS[self.seen].changes else scene)
        for item, centre in enumerate(centres):
            arrays["reference_images"][first_tile + item] = shoot.tile(from_above, centre, item)
            arrays["reference_positions"][first_tile + item] = self.origin(number) + scene.position(centre)
        return len(queries)


def _recorded(scene: Scene, camera: Camera, shift: tuple[float, float]) -> Camera:
    """Return the recorded place of a panorama: that of its camera with the capture's error, up to half a cell."""
    east, north = shift
    return Camera(camera.row - round(north / scene.cell), camera.column + round(east / scene.cell))


@dataclass(frozen=True, eq=False)
class World(Rendered):
    """N panoramas (queries) and M tiles (references) of one style and split.

    Positions are those where the panoramas were recorded, capture errors included, and the tiles' centres.

    Attributes:
        truth: int64 `[N, 1]`, the panorama's tile; in an offset world `[N, 4]`, the positive, then three ignored tiles.
    """

    spec: WorldSpec
    truth: np.ndarray
