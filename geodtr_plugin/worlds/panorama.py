"""The ground camera: a 360-degree panorama, column 0 south, the middle column north."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .aerial import shrink
from .canvas import HEIGHT_STEP
from .rays import first_solid, nearest_crown
from .scene import Camera, Scene
from .shading import crown_colour, solid_colour
from .sky import make_sky

UP, DOWN = 36.0, -29.5  # elevation of the upper and lower edge, degrees (as in CVUSA's cropped panoramas)
EYE = 2.0  # height of the camera, metres
NEAREST, FARTHEST = 2.2, 78.0  # metres between which things are seen
RATIO = 1.02  # between consecutive distances
_SKIES_KEPT = 8


@dataclass(frozen=True)
class _Tables:
    """Offsets between a camera's corner and the cells that its rays meet, for one width of scene and handedness."""

    samples: np.ndarray  # intp `[D, W]`: cells at the fixed distances
    ground: np.ndarray  # intp `[rows, W]`: cells where the rays of the lower pixel rows meet the ground


class PanoramaCamera:
    """A camera for panoramas of one size; everything that does not depend on the scene is computed once.

    Args:
        height, width: pixels. Quarter turns of a scene are exact if 4 divides the width.
        supersample: rays along each side of a pixel.
        up, down: elevation of the upper and the lower edge, degrees.
        eye: height above the ground, metres.
        ratio: between consecutive distances at which things are looked for: what is thinner may be missed.
        farthest: metres up to which anything is seen.
    """

    def __init__(
        self, height: int, width: int, supersample: int = 1, up: float = UP, down: float = DOWN, eye: float = EYE,
        ratio: float = RATIO, farthest: float = FARTHEST,
    ):  # fmt: skip
        self.height, self.width, self.supersample = height, width, supersample
        self.up, self.down, self.eye, self.farthest = up, down, eye, farthest
        self._rows, self._columns = height * supersample, width * supersample
        self._elevation = np.radians(up - (np.arange(self._rows) + 0.5) * ((up - down) / self._rows))
        self._slope = np.tan(self._elevation).astype(np.float32)
        count = int(math.log(farthest / NEAREST) / math.log(ratio)) + 1
        self._distances = NEAREST * ratio ** np.arange(count)
        self._row_of = self._row_table()
        on_ground = eye / np.maximum(-np.tan(self._elevation), 1e-6)
        self._horizon = int(np.searchsorted(-self._elevation, 0))  # first pixel row below the horizon
        self._first_ground = int(np.argmax(on_ground < farthest))  # first pixel row whose ground is drawn
        self._on_ground = on_ground[self._first_ground :]
        self._tables: dict[tuple, _Tables] = {}
        self._skies: dict[tuple, np.ndarray] = {}

    def render(self, scene: Scene, camera: Camera) -> np.ndarray:
        """Return the panorama around a camera's corner, uint8 `[height, width, 3]`.

        Raises:
            ValueError: the camera is too near to the scene's edge.
        """
        margin = math.ceil(self.farthest / scene.cell)
        if not all(margin <= at <= scene.n - margin for at in (camera.row, camera.column)):
            message = f"{camera} is less than {self.farthest} m from the scene's edge, where a panorama has no data."
            raise ValueError(message)
        tables = self._tables_for(scene)
        corner = camera.row * scene.n + camera.column
        samples = tables.samples + corner
        picture = np.empty((self._rows, self._columns, 3), np.float32)
        self._paint_far(picture, scene, camera)
        picture[self._first_ground :] = scene.ground.reshape(-1, 3).take(tables.ground + corner, axis=0)
        self._haze(picture[self._first_ground :], scene, self._on_ground[:, None, None])
        first = first_solid(self._rows_of(scene.height, samples), self._rows)
        self._paint_solids(picture, scene, samples, first)
        self._paint_crowns(picture, scene, samples, first)
        np.clip(picture, 0, 255, out=picture)
        return shrink(picture.astype(np.uint8), self.supersample)

    def _row_table(self) -> np.ndarray:
        """Return the first pixel row whose ray passes below a height (in steps) at a distance, int32 `[D, 256]`."""
        above = np.arange(256)[None, :] * HEIGHT_STEP - self.eye
        elevation = np.degrees(np.arctan2(above, self._distances[:, None]))
        row = np.ceil((self.up - elevation) / ((self.up - self.down) / self._rows) - 0.5)
        return np.clip(row, 0, self._rows).astype(np.int32)

    def _rows_of(self, raster: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Return the pixel rows of the heights in a raster at the samples, int32 `[D, W]`."""
        at = raster.ravel().take(samples) + (np.arange(len(samples)) * 256)[:, None]
        return self._row_of.ravel().take(at)

    def _tables_for(self, scene: Scene) -> _Tables:
        key = (scene.n, scene.cell, scene.mirrored)
        if key not in self._tables:
            sine, cosine = _directions(self._columns)
            self._tables[key] = _Tables(
                *(_offsets(distances, sine, cosine, scene) for distances in (self._distances, self._on_ground))
            )
        return self._tables[key]

    def _paint_far(self, picture: np.ndarray, scene: Scene, camera: Camera) -> None:
        """Paint the sky, and the strip of land too far to be drawn."""
        key = (scene.style, scene.seed, scene.sun_azimuth, scene.mirrored, scene.turns, camera.sky)
        if key not in self._skies:
            while len(self._skies) >= _SKIES_KEPT:
                self._skies.pop(next(iter(self._skies)))
            self._skies[key] = make_sky(scene, camera.sky, self._elevation[: self._horizon], self._columns)
        picture[: self._horizon] = self._skies[key]
        picture[self._horizon : self._first_ground] = np.array(scene.style.light.haze, np.float32) * np.float32(0.93)

    def _haze(self, colour: np.ndarray, scene: Scene, distance: np.ndarray) -> None:
        """Blend colours towards the haze with the distance in metres, in place."""
        haze = np.array(scene.style.light.haze, np.float32)
        colour -= haze
        colour *= np.exp(-distance / scene.style.light.sight).astype(np.float32)
        colour += haze

    def _paint_solids(self, picture: np.ndarray, scene: Scene, samples: np.ndarray, first: np.ndarray) -> None:
        """Paint buildings, trunks, cars, hedges; bare ground is there already, exactly and not by samples."""
        pixel = np.flatnonzero(first < len(samples))
        distance = first.ravel().take(pixel)
        cell = samples.ravel().take(distance * self._columns + pixel % self._columns)
        solid = scene.kind.ravel().take(cell) > 0
        self._paint(picture, scene, pixel[solid], distance[solid], cell[solid], solid_colour)

    def _paint_crowns(self, picture: np.ndarray, scene: Scene, samples: np.ndarray, first: np.ndarray) -> None:
        """Paint crowns of trees that stand in front of everything solid."""
        sample = np.flatnonzero(scene.canopy_top.ravel().take(samples))
        cell = samples.ravel().take(sample)
        step = sample // self._columns * 256
        top = self._row_of.ravel().take(step + scene.canopy_top.ravel().take(cell))
        base = self._row_of.ravel().take(step + scene.canopy_base.ravel().take(cell))
        nearest = nearest_crown(sample, top, base, (len(samples), self._rows, self._columns))
        pixel = np.flatnonzero(nearest < first)
        distance = nearest.ravel().take(pixel)
        cell = samples.ravel().take(distance * self._columns + pixel % self._columns)
        self._paint(picture, scene, pixel, distance, cell, crown_colour)

    def _paint(
        self, picture: np.ndarray, scene: Scene, pixel: np.ndarray, distance: np.ndarray, cell: np.ndarray,
        colour_of: Callable[[Scene, np.ndarray, np.ndarray], np.ndarray],
    ) -> None:  # fmt: skip
        """Paint pixels with what stands at a distance, seen at the height where the pixel's ray passes.

        Args:
            pixel, distance, cell: `[K]`, flat index of the pixel, number of the distance, flat index of the cell.
            colour_of: see `solid_colour`.
        """
        metres = self._distances.astype(np.float32).take(distance)
        z = np.float32(self.eye) + metres * self._slope.take(pixel // self._columns)
        colour = colour_of(scene, cell, z)
        self._haze(colour, scene, metres[:, None])
        picture.reshape(-1, 3)[pixel] = colour


panorama_camera = lru_cache(maxsize=4)(PanoramaCamera)  # the tables of a size are computed once in a process


def _directions(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sine and cosine of the columns' azimuths, float64 `[W]` each, bit-exactly symmetric.

    The western half mirrors the eastern one; where 4 divides the width, every quarter is the first one turned.
    """
    azimuth = (np.arange(width) + 0.5) / width * 2 * math.pi - math.pi
    sine, cosine = np.sin(azimuth), np.cos(azimuth)
    if width % 4 == 0:
        quarter = azimuth[width // 2 : 3 * (width // 4)]
        s = (np.sin(quarter) + np.cos(quarter)[::-1]) / 2
        c = s[::-1]
        return np.concatenate([-s, -c, s, c]), np.concatenate([-c, s, c, -s])
    half = width // 2
    sine[:half], cosine[:half] = -sine[::-1][:half], cosine[::-1][:half]
    if width % 2:
        sine[half] = 0.0
    return sine, cosine


def _offsets(distances: np.ndarray, sine: np.ndarray, cosine: np.ndarray, scene: Scene) -> np.ndarray:
    """Return flat offsets of the cells that hold the points at these distances, intp `[len(distances), W]`.

    A mirrored scene gets the mirrored table: the middle column of an odd width runs along a line between two cells,
    and the side it takes must be mirrored too.
    """
    rows = np.floor(-distances[:, None] * cosine / scene.cell).astype(np.intp)
    columns = np.floor(distances[:, None] * sine / scene.cell).astype(np.intp)
    if scene.mirrored:
        rows, columns = rows[:, ::-1], -1 - columns[:, ::-1]
    return rows * scene.n + columns
