"""Renders the share of a world that comes from one scene."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .aerial import render_aerial
from .builder import SCENE_SIZE, TRANSIENT, make_scene
from .capture import Capture, apply_tones, draw_capture, draw_tones
from .panorama import PanoramaCamera
from .scene import Camera, Scene
from .spec import SPLITS, WorldSpec
from .tiles import TILES, covering_tiles, tile_centres

_PITCH = 1000.0  # metres between the scenes of a world on its map
_SPLIT_PITCH = 100_000.0  # metres between the maps of the two splits


def array_shapes(spec: WorldSpec) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shapes and types of the arrays of a world."""
    return spec.arrays(TILES)


def render_scene(spec: WorldSpec, number: int, arrays: dict[str, np.ndarray]) -> int:
    """Draws scene `number` and fills its rows of the arrays.

    Returns:
        How many panoramas were rendered.
    """
    scene = make_scene(
        spec.style, spec.scene_seed(number), cell=spec.cell, transient=TRANSIENT * min(1.0, spec.realism)
    )
    queries = spec.queries_of(number)
    origin = scene_origin(spec, number)
    for query, camera in zip(queries, scene.cameras):
        capture = draw_capture(_rng(spec, number, 0, query - queries.start), spec.realism)
        panorama = _panorama_camera(*spec.panorama_size, spec.rays).render(scene, camera)
        arrays["panoramas"][query] = capture.apply(panorama)
        if spec.offset:
            _record_offset(spec, number, arrays, query, scene, camera, capture, origin)
        else:
            _record_centred(spec, number, arrays, query, scene, camera, capture, origin)
    if spec.offset:
        _render_grid(spec, number, arrays, scene, origin)
    return len(queries)


def scene_origin(spec: WorldSpec, number: int) -> np.ndarray:
    """Metres (east, north) of a scene's south-west corner on the map of all scenes, float64 [2]."""
    return np.array([number * _PITCH, SPLITS.index(spec.split) * _SPLIT_PITCH])


@lru_cache(maxsize=4)
def _panorama_camera(height: int, width: int, rays: int) -> PanoramaCamera:
    return PanoramaCamera(height, width, rays)


def _rng(spec: WorldSpec, number: int, stream: int, item: int) -> np.random.Generator:
    """Random numbers of one capture: stream 0 for panoramas, 1 for tiles."""
    return np.random.default_rng([spec.scene_seed(number), 1 + stream, item])


def _record_centred(spec, number, arrays, query, scene: Scene, camera: Camera, capture: Capture, origin) -> None:
    """The tile is centred on the recorded place, up to half a cell."""
    east, north = capture.shift
    recorded = Camera(camera.row - round(north / scene.cell), camera.column + round(east / scene.cell))
    tones = draw_tones(_rng(spec, number, 1, query - spec.queries_of(number).start), spec.realism)
    tile = render_aerial(scene, recorded, spec.aerial_size, spec.supersample)
    arrays["aerials"][query] = apply_tones(tile, tones)
    arrays["truth"][query] = query
    arrays["query_positions"][query] = arrays["reference_positions"][query] = origin + scene.position(recorded)


def _record_offset(spec, number, arrays, query, scene: Scene, camera: Camera, capture: Capture, origin) -> None:
    """The nearest tile of the grid is the positive, the other three that hold the recorded place are neutral."""
    east, north = np.add(scene.position(camera), capture.shift)
    arrays["truth"][query] = number * TILES + covering_tiles(east, SCENE_SIZE - north)
    arrays["query_positions"][query] = origin + (east, north)


def _render_grid(spec: WorldSpec, number: int, arrays, scene: Scene, origin: np.ndarray) -> None:
    for tile, centre in enumerate(tile_centres(scene.cell)):
        picture = render_aerial(scene, centre, spec.aerial_size, spec.supersample)
        tones = draw_tones(_rng(spec, number, 1, tile), spec.realism)
        arrays["aerials"][number * TILES + tile] = apply_tones(picture, tones)
        arrays["reference_positions"][number * TILES + tile] = origin + scene.position(centre)
