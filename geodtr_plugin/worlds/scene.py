"""A scene: a square piece of a synthetic world, which both cameras look at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .styles import Style

RASTERS = (
    "aerial", "ground", "height", "kind", "building", "facade_place", "facade_light",
    "canopy_top", "canopy_base", "canopy", "surface",
)  # fmt: skip


@dataclass(frozen=True)
class Camera:
    """A place of a scene: the corner between four cells, so that turning the scene keeps it exact.

    Attributes:
        row, column: corner, 0..n; row 0 is the scene's north edge, column 0 its west edge.
        sky: which of the scene's skies hangs over the place.
    """

    row: int
    column: int
    sky: int = 0


@dataclass(frozen=True, eq=False)
class Scene:
    """Rasters `[n, n]` with row 0 in the north and column 0 in the west; cells are `cell` metres wide.

    Attributes:
        style, seed: what the scene was drawn from.
        sun_azimuth: degrees clockwise from north, before any turn.
        aerial: uint8 `[n, n, 3]`, seen from above.
        ground: uint8 `[n, n, 3]`, colours as the ground camera sees them (crowns aside).
        height: uint8 `[n, n]`, of solid things, in steps of HEIGHT_STEP.
        kind: uint8 `[n, n]`, see `Kind`.
        building, facade_place, facade_light: row of `facades`, place along the wall and its brightness.
        canopy_top, canopy_base, canopy: the crowns' extent (steps of HEIGHT_STEP) and colour.
        surface: uint8 `[n, n]`, of what the aerial camera sees, crowns and all, in steps of HEIGHT_STEP.
        facades: float32 `[B, 12]`, see `Facade`.
        cameras: places on the roads.
        mirrored, turns: how the scene was turned: first the mirror, then clockwise quarter turns.
    """

    style: Style
    seed: int
    cell: float
    sun_azimuth: float
    aerial: np.ndarray
    ground: np.ndarray
    height: np.ndarray
    kind: np.ndarray
    building: np.ndarray
    facade_place: np.ndarray
    facade_light: np.ndarray
    canopy_top: np.ndarray
    canopy_base: np.ndarray
    canopy: np.ndarray
    surface: np.ndarray
    facades: np.ndarray
    cameras: tuple[Camera, ...] = ()
    mirrored: bool = False
    turns: int = 0

    @property
    def n(self) -> int:
        """Cells along a side."""
        return len(self.height)

    def position(self, camera: Camera) -> tuple[float, float]:
        """Return the metres (east, north) of a camera from the scene's south-west corner."""
        return camera.column * self.cell, (self.n - camera.row) * self.cell

    def turned(self, turns: int = 0, flip: bool = False) -> Scene:
        """Return the whole world turned: first mirrored east-west if `flip`, then by quarter turns clockwise.

        Cameras, sun and sky go with it, so that rendering the result equals mirroring and turning the pictures.
        """
        rasters = {name: _turn(getattr(self, name), turns, flip) for name in RASTERS}
        cameras = tuple(_turn_camera(camera, self.n, turns, flip) for camera in self.cameras)
        # a mirror that follows t clockwise turns equals the mirror first and t counter-clockwise turns after it
        before = -self.turns if flip else self.turns
        return replace(self, **rasters, cameras=cameras, mirrored=self.mirrored != flip, turns=(before + turns) % 4)


def _turn(raster: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(raster[:, ::-1] if flip else raster, -turns))


def _turn_camera(camera: Camera, n: int, turns: int, flip: bool) -> Camera:
    row, column = camera.row, n - camera.column if flip else camera.column
    for _ in range(turns % 4):
        row, column = column, n - row
    return Camera(row, column, camera.sky)
