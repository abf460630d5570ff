"""How the pictures of one scene are taken, in plain worlds and in wide ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .aerial import cells_along, render_aerial, render_turned_aerial
from .builder import SCENE_SIZE
from .cameras import MARGIN
from .capture import POSITION_ERROR, apply_tones, draw_capture, draw_tones
from .effects import coarsen, quantized
from .leaning import leaning
from .panorama import panorama_camera
from .scene import Camera, Scene
from .spans import WIDE, Spans
from .styles import Style
from .survey import Survey, draw_survey, reach, zone
from .tiles import TILE_SIDE
from .wide_capture import add_lens, develop, draw_stitch, highest_rise, stitch

_COARSEST = 0.4  # metres: the cells of a plain scene are at most this wide
_COARSEST_WIDE = 0.56  # and those of a wide one, which has fewer cameras to pay for its cells
_SMALL = 256  # columns up to which a panorama is small
_PANORAMAS, _TILES, _SURVEY = 1, 2, 5  # streams of random numbers; 3 are the drives', 4 the looks'


@dataclass(frozen=True)
class Shoot:
    """The pictures of one scene of a plain world: all are taken alike.

    Args:
        panorama_size: (height, width), pixels.
        aerial_size: pixels along a tile.
        realism: scale of what a capture adds.
        rng: returns the random numbers of one purpose in this scene.
    """

    panorama_size: tuple[int, int]
    aerial_size: int
    realism: float
    rng: Callable[..., np.random.Generator]

    @property
    def side(self) -> float:
        """Metres along a tile."""
        return TILE_SIDE

    @property
    def supersample(self) -> int:
        """Cells along a pixel of a tile."""
        return cells_along(self.side, self.aerial_size, _COARSEST)

    @property
    def cell(self) -> float:
        """Metres along a cell of the scene."""
        return self.side / (self.aerial_size * self.supersample)

    @property
    def margin(self) -> float:
        """Metres that cameras keep from the scene's edge."""
        return MARGIN

    @property
    def size(self) -> float:
        """Metres along the scene."""
        return SCENE_SIZE

    @property
    def rays(self) -> int:
        """Rays along each side of a panorama's pixel: small panoramas would show jagged road marks with one."""
        return 2 if self.panorama_size[1] <= _SMALL else 1

    def from_above(self, scene: Scene) -> Scene:
        """Return the scene with the aerial picture that the tiles are cut from."""
        return scene

    def panorama(self, scene: Scene, camera: Camera, item: int) -> tuple[np.ndarray, tuple[float, float]]:
        """Return a panorama, uint8 `[H, W, 3]`, and the metres (east, north) from its camera to its recorded place."""
        capture = draw_capture(self.rng(_PANORAMAS, item), self.realism)
        picture = panorama_camera(*self.panorama_size, self.rays).render(scene, camera)
        return capture.apply(picture), capture.shift

    def tile(self, scene: Scene, centre: Camera, item: int) -> np.ndarray:
        """Return the tile around a place, uint8 `[aerial_size, aerial_size, 3]`."""
        tile = render_aerial(scene, centre, self.aerial_size, self.supersample)
        return apply_tones(tile, draw_tones(self.rng(_TILES, item), self.realism))


@dataclass(frozen=True)
class WideShoot(Shoot):
    """The pictures of one scene of a wide world: its tiles have a side of their own, and its cameras a few mounts.

    Args:
        look: of the scene.
        spans: what is drawn from.
    """

    look: Style
    spans: Spans = field(default=WIDE)

    @cached_property
    def survey(self) -> Survey:
        """All that the pictures have in common."""
        return draw_survey(self.rng(_SURVEY), self.realism, self.spans)

    @property
    def side(self) -> float:
        return self.survey.side

    @property
    def supersample(self) -> int:
        return cells_along(self.side, self.aerial_size, _COARSEST_WIDE)

    @property
    def margin(self) -> float:
        shift = self.realism * (3 * POSITION_ERROR + max(self.spans.centre) * self.side)
        return reach(self.side, shift, self.spans, self.realism)

    @property
    def size(self) -> float:
        return self.cell * math.ceil((zone(self.look.streets) + 2 * self.margin) / self.cell)

    def from_above(self, scene: Scene) -> Scene:
        return leaning(scene, self.survey.lean)

    def panorama(self, scene: Scene, camera: Camera, item: int) -> tuple[np.ndarray, tuple[float, float]]:
        rng, realism, spans = self.rng(_PANORAMAS, item), self.realism, self.spans
        capture = draw_capture(rng, realism)
        off = realism * rng.uniform(*spans.centre) * self.side * rng.uniform(-1, 1, 2)
        (height, width), rig = self.panorama_size, self.survey.rigs[camera.sky]
        degrees = (rig.up - rig.down) / height
        rise = highest_rise(spans, realism) / degrees
        upright = rig.camera(height, width, self.rays, math.ceil(rise)).render(scene, camera)
        how = draw_stitch(rng, width, capture.heading, realism, spans)
        picture = stitch(upright, how, height, degrees)
        sun = (scene.sun_azimuth + capture.heading) / 360 * width + width / 2
        picture = add_lens(picture, how, sun, rng, realism, spans)
        shift = (capture.shift[0] + float(off[0]), capture.shift[1] + float(off[1]))
        return develop(quantized(picture), rng, realism, spans, around=True), shift

    def tile(self, scene: Scene, centre: Camera, item: int) -> np.ndarray:
        rng, realism, spans = self.rng(_TILES, item), self.realism, self.spans
        turn, zoom = realism * rng.uniform(*spans.turn), rng.uniform(*spans.zoom) ** realism
        tile = render_turned_aerial(scene, centre, self.aerial_size, self.supersample, turn, zoom)
        detail = min(1.0, rng.uniform(*spans.detail)) ** realism
        return develop(coarsen(tile, detail), rng, realism, spans, around=False)
