"""Two drives through one synthetic world: ground views of the same places, at different hours, from different spots."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..utils.cache_folder import cache_root
from .builder import TRANSIENT, make_scene
from .cache import cached
from .capture import apply_tones, draw_tones
from .drive_spec import VIEWS, DriveSpec
from .hours import HOURS, Hour, at_hour
from .panorama import PanoramaCamera
from .rendering import scene_origin
from .scene import Camera, Scene

APART = (1.0, 8.0)  # metres between the spots from which a place is seen on the two drives
_TRIES = 200  # random spots tried before the second drive stops where the first one did
_STREAM = 3  # of random numbers; rendering has 1 and 2
_MARGIN = 78.0  # metres from the scene's edge to the outermost spot: what a panorama sees


@dataclass(frozen=True, eq=False)
class Drives:
    """The views of both drives, memory-mapped.

    Attributes:
        spec: the request that they answer.
        query_views: uint8 [N, H, W, 3], one a place.
        reference_views: uint8 [N * VIEWS, H, W, 3]; views VIEWS * i and following show place i.
        query_positions, reference_positions: float64 [N, 2] and [N * VIEWS, 2], metres (east, north), exact.
        query_headings, reference_headings: float64, degrees clockwise from north to which a view's middle looks.
    """

    spec: DriveSpec
    query_views: np.ndarray
    query_positions: np.ndarray
    query_headings: np.ndarray
    reference_views: np.ndarray
    reference_positions: np.ndarray
    reference_headings: np.ndarray

    def names(self, role: str) -> list[str]:
        """A name for each view of the "query" or "reference" drive, unique over styles, splits and seeds."""
        prefix = f"{self.spec.style}-{self.spec.split}-{self.spec.seed}-{role}"
        return [f"{prefix}-{number:06d}" for number in range(len(getattr(self, f"{role}_views")))]


def load_drives(
    style: str,
    split: str,
    count: int,
    *,
    view_size: tuple[int, int] = (64, 88),
    seed: int = 0,
    realism: float = 1.0,
    cache_dir: str | os.PathLike | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Drives:
    """Two drives from the cache, rendered first if they are not there.

    The first drive takes VIEWS views of every place, evenly around the circle. The second one passes each place at
    another hour, 1 to 8 m from there in plain sight, and takes one view into any direction.

    Args:
        style, split, count, view_size, seed, realism: see DriveSpec.
        cache_dir, workers, progress: see load_world.
    """
    from .pool import render_world  # which knows how to render these

    spec = DriveSpec(style, split, count, view_size, seed, realism)

    def render(folder: Path) -> None:
        if progress:
            told = f"Rendering two drives, {spec.key()}, into {folder.parent}; later runs find them there."
            tqdm.write(told, file=sys.stderr)
        render_world(spec, folder, workers, progress)

    return Drives(spec, **cached(spec, cache_root(cache_dir), render))


def render_drives(spec: DriveSpec, number: int, arrays: dict[str, np.ndarray]) -> int:
    """Draws scene `number` at two hours and fills its rows of the arrays.

    Returns:
        How many places were rendered.
    """
    world = spec.world
    seed = world.scene_seed(number)
    hour = HOURS[int(np.random.default_rng([seed, _STREAM]).integers(len(HOURS)))]
    transient = TRANSIENT * min(1.0, spec.realism)
    day = make_scene(spec.style, seed, cell=world.cell, transient=transient)
    later = make_scene(at_hour(day.style, hour, spec.realism), seed, cell=world.cell, transient=transient)
    places, origin = world.queries_of(number), scene_origin(world, number)
    for place, camera in zip(places, day.cameras):
        # a place looks the same however many are asked for
        rng = np.random.default_rng([seed, _STREAM, place - places.start])
        _take_references(spec, day, camera, place, arrays, origin, rng)
        _take_query(spec, later, camera, place, arrays, origin, hour, rng)
    return len(places)


def _take_references(spec: DriveSpec, scene: Scene, camera: Camera, place: int, arrays, origin, rng) -> None:
    panorama = apply_tones(_panorama_camera(spec).render(scene, camera), draw_tones(rng, spec.realism))
    width = panorama.shape[1]
    rows = slice(place * VIEWS, (place + 1) * VIEWS)
    starts = [round(view * width / VIEWS) for view in range(VIEWS)]
    arrays["reference_views"][rows] = [cut(panorama, start, spec.view_size[1]) for start in starts]
    arrays["reference_headings"][rows] = [heading(start, spec.view_size[1], width) for start in starts]
    arrays["reference_positions"][rows] = origin + scene.position(camera)


def _take_query(spec: DriveSpec, scene: Scene, camera: Camera, place: int, arrays, origin, hour: Hour, rng) -> None:
    spot = replace(spot_near(scene, camera, rng), sky=(camera.sky + 1) % 4)
    tones = hour.develop(draw_tones(rng, spec.realism))
    panorama = apply_tones(_panorama_camera(spec).render(scene, spot), tones)
    start = int(rng.integers(panorama.shape[1]))
    arrays["query_views"][place] = cut(panorama, start, spec.view_size[1])
    arrays["query_headings"][place] = heading(start, spec.view_size[1], panorama.shape[1])
    arrays["query_positions"][place] = origin + scene.position(spot)


def spot_near(scene: Scene, camera: Camera, rng: np.random.Generator) -> Camera:
    """A free spot APART metres from a camera, with nothing solid on the straight line between the two."""
    margin = int(np.ceil(_MARGIN / scene.cell))
    distance, angle = rng.uniform(*APART, _TRIES), rng.uniform(0, 2 * np.pi, _TRIES)
    steps = np.linspace(0, 1, 2 * int(APART[1] / scene.cell))
    for east, north in zip(distance * np.sin(angle), distance * np.cos(angle)):
        row, column = camera.row - round(north / scene.cell), camera.column + round(east / scene.cell)
        if not all(margin <= at <= scene.n - margin for at in (row, column)):
            continue
        on_line = [np.rint(a + (b - a) * steps).astype(int) for a, b in ((camera.row, row), (camera.column, column))]
        if not scene.height[on_line[0], on_line[1]].any():
            return replace(camera, row=row, column=column)
    return camera


def cut(panorama: np.ndarray, start: int, width: int) -> np.ndarray:
    """`width` columns of a panorama [H, W, 3] from column `start` on, across its edge where need be."""
    return panorama.take(np.arange(start, start + width), axis=1, mode="wrap")


def heading(start: int, width: int, panorama_width: int) -> float:
    """Degrees clockwise from north to which the middle of such a cut looks; column 0 of a panorama is south."""
    return ((start + width / 2) / panorama_width * 360 + 180) % 360


@lru_cache(maxsize=2)
def _camera_of(height: int, width: int, rays: int) -> PanoramaCamera:
    return PanoramaCamera(height, width, rays)


def _panorama_camera(spec: DriveSpec) -> PanoramaCamera:
    """Two rays along each side of a pixel: road marks of small views would be jagged with one."""
    return _camera_of(*spec.panorama_size, 2)
