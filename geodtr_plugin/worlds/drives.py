"""Two drives through one synthetic world: photos of the same places, at different hours, from different spots."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np

from ..utils.errors import UserError
from .builder import CELL
from .cameras import SKIES
from .capture import apply_tones, draw_tones
from .hours import HOURS, Hour, at_hour
from .panorama import FARTHEST, PanoramaCamera, panorama_camera
from .rendered import Rendered, load_arrays
from .scene import Camera, Scene
from .spec import ArrayShape, Spec

FOV = 90.0  # degrees that a photo shows
PHOTOS = 6  # references of a place: any photo shares two thirds of its directions with one of them, or more
DISTANCE = (1.0, 8.0)  # metres between the spots from which a place is photographed on the two drives
_TRIES = 200  # random spots tried before the second drive stops where the first one did
_RAYS = 2  # along each side of a pixel: road marks of small photos would be jagged with one
_DRIVES = 3  # stream of random numbers; the panoramas and tiles of a world have 1 and 2


@dataclass(frozen=True)
class DriveSpec(Spec):
    """A request for two drives: `count` places, each with one query and PHOTOS references.

    Realism scales the differences of exposure and colour, and the share of cars that come and go. For the other
    arguments and errors see `Spec`.

    Args:
        photo_size: (height, width) in pixels.
    """

    photo_size: tuple[int, int] = (64, 88)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "photo_size", tuple(int(side) for side in self.photo_size))
        if len(self.photo_size) != 2 or min(self.panorama_size) < 4:
            raise UserError(f"Cannot render photos of {self.photo_size} pixels.")

    @property
    def title(self) -> str:
        """Style and kind of the world."""
        return f"{self.style}-drives"

    @property
    def query_size(self) -> tuple[int, int]:
        """Height and width of a photo, pixels."""
        return self.photo_size

    @property
    def reference_size(self) -> tuple[int, int]:
        """Height and width of a photo, pixels."""
        return self.photo_size

    @property
    def reference_count(self) -> int:
        """Number of references."""
        return self.count * PHOTOS

    @property
    def cell(self) -> float:
        """Metres along a cell of the scenes."""
        return CELL

    @property
    def panorama_size(self) -> tuple[int, int]:
        """Height and width of the panoramas that photos are cut from, pixels."""
        return self.photo_size[0], round(self.photo_size[1] * 360 / FOV)

    def arrays(self) -> dict[str, ArrayShape]:
        """Return shapes and dtypes of the stored arrays."""
        counts = {"query_headings": self.count, "reference_headings": self.reference_count}
        return {**super().arrays(), **{name: ((count,), np.float64) for name, count in counts.items()}}

    def image_prefix(self, role: str) -> str:
        """Return how the names of the photos of a role begin."""
        return f"{self.style}-{self.split}-{self.seed}-{role}"

    def render_scene(self, number: int, arrays: dict[str, np.ndarray]) -> int:
        """Draw scene `number` at two hours, fill its rows of the arrays, and return how many places these are."""
        hour = HOURS[int(self.rng(number, _DRIVES).integers(len(HOURS)))]
        first = self.draw_scene(number)
        second = self.draw_scene(number, at_hour(first.style, hour, self.realism))
        places = self.queries_of(number)
        for item, (place, camera) in enumerate(zip(places, first.cameras)):
            rng = self.rng(number, _DRIVES, item)  # a place looks the same whatever the count
            self._take_references(first, camera, rng, arrays, place, self.origin(number))
            self._take_query(second, camera, hour, rng, arrays, place, self.origin(number))
        return len(places)

    def _take_references(self, scene: Scene, camera: Camera, rng, arrays: dict, place: int, origin) -> None:
        panorama = apply_tones(self._panoramas.render(scene, camera), draw_tones(rng, self.realism))
        for number in range(PHOTOS):
            start = round(number * panorama.shape[1] / PHOTOS)
            self._store(arrays, "reference", place * PHOTOS + number, panorama, start, origin + scene.position(camera))

    def _take_query(self, scene: Scene, camera: Camera, hour: Hour, rng, arrays: dict, place: int, origin) -> None:
        spot = replace(spot_near(scene, camera, rng), sky=(camera.sky + 1) % SKIES)
        tones = hour.develop(draw_tones(rng, self.realism))
        panorama = apply_tones(self._panoramas.render(scene, spot), tones)
        start = int(rng.integers(panorama.shape[1]))
        self._store(arrays, "query", place, panorama, start, origin + scene.position(spot))

    def _store(self, arrays: dict, role: str, row: int, panorama: np.ndarray, start: int, position) -> None:
        width = self.photo_size[1]
        arrays[f"{role}_images"][row] = cut(panorama, start, width)
        arrays[f"{role}_headings"][row] = heading(start, width, panorama.shape[1])
        arrays[f"{role}_positions"][row] = position

    @property
    def _panoramas(self) -> PanoramaCamera:
        return panorama_camera(*self.panorama_size, _RAYS)


@dataclass(frozen=True, eq=False)
class Drives(Rendered):
    """The photos of two drives past N places; the references PHOTOS * i and following show place i.

    Attributes:
        query_headings, reference_headings: float64 `[N]` and `[N * PHOTOS]`, degrees clockwise from north to which a
            photo's middle looks.
    """

    spec: DriveSpec
    query_headings: np.ndarray
    reference_headings: np.ndarray


def load_drives(
    style: str,
    split: str,
    count: int,
    *,
    photo_size: tuple[int, int] = (64, 88),
    seed: int = 0,
    realism: float = 1.0,
    cache_dir: str | os.PathLike | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Drives:
    """Return two drives from the cache, rendered first if they are not there.

    The first drive takes PHOTOS photos of every place, evenly around the circle. The second one passes each place at
    another hour, 1 to 8 m from there in plain sight, and takes one photo into any direction.

    Args:
        style, split, count, photo_size, seed, realism: see `DriveSpec`.
        cache_dir, workers, progress: see `load_world`.

    Raises:
        UserError: the drives are not possible, or the cache has no room for them.
        UnknownNameError: there is no such style.
    """
    spec = DriveSpec(style, split, count, photo_size, seed=seed, realism=realism)
    return Drives(spec, **load_arrays(spec, cache_dir, workers, progress))


def spot_near(scene: Scene, camera: Camera, rng: np.random.Generator) -> Camera:
    """Return a free spot DISTANCE metres from a camera, in plain sight of it; the camera itself if none is found."""
    margin = int(np.ceil(FARTHEST / scene.cell))
    distance, angle = rng.uniform(*DISTANCE, _TRIES), rng.uniform(0, 2 * np.pi, _TRIES)
    steps = np.linspace(0, 1, 2 * int(DISTANCE[1] / scene.cell))
    for east, north in zip(distance * np.sin(angle), distance * np.cos(angle)):
        row, column = camera.row - round(north / scene.cell), camera.column + round(east / scene.cell)
        if not all(margin <= at <= scene.n - margin for at in (row, column)):
            continue
        on_line = [np.rint(a + (b - a) * steps).astype(int) for a, b in ((camera.row, row), (camera.column, column))]
        if not scene.height[on_line[0], on_line[1]].any():
            return replace(camera, row=row, column=column)
    return camera


def cut(panorama: np.ndarray, start: int, width: int) -> np.ndarray:
    """Return `width` columns of a panorama `[H, W, 3]` from column `start` on, across its edge where need be."""
    return panorama.take(np.arange(start, start + width), axis=1, mode="wrap")


def heading(start: int, width: int, panorama_width: int) -> float:
    """Return the degrees clockwise from north to which the middle of such a cut looks; column 0 is south."""
    return ((start + width / 2) / panorama_width * 360 + 180) % 360
