"""Two drives through one synthetic world: photos of the same places, at different hours, from different spots."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..utils.errors import UserError
from .cameras import SKIES
from .capture import apply_tones, draw_tones
from .hours import HOURS, at_hour
from .panorama import FARTHEST, panorama_camera
from .rendered import Rendered
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
    def panorama_size(self) -> tuple[int, int]:
        """Height and width of the panoramas that photos are cut from, pixels."""
        return self.photo_size[0], round(self.photo_size[1] * 360 / FOV)

    def arrays(self) -> dict[str, ArrayShape]:
        """Return shapes and dtypes of the rendered arrays; for their meaning see `Drives`."""
        arrays: dict[str, ArrayShape] = {}
        for role, count in (("query", self.count), ("reference", self.count * PHOTOS)):
            arrays[f"{role}_images"] = ((count, *self.photo_size, 3), np.uint8)
            arrays[f"{role}_positions"] = ((count, 2), np.float64)
            arrays[f"{role}_headings"] = ((count,), np.float64)
        return arrays

    def render_scene(self, number: int, arrays: dict[str, np.ndarray]) -> int:
        """Draw scene `number` at two hours, fill its rows of the arrays, and return how many places these are."""
        hour = HOURS[int(self.rng(number, _DRIVES).integers(len(HOURS)))]
        first = self.draw_scene(number)
        second = self.draw_scene(number, at_hour(first.style, hour, self.realism))
        columns = self.panorama_size[1]
        around = [round(photo * columns / PHOTOS) for photo in range(PHOTOS)]
        places = self.queries_of(number)
        for item, (place, camera) in enumerate(zip(places, first.cameras)):
            rng = self.rng(number, _DRIVES, item)  # a place looks the same whatever the count
            tones = draw_tones(rng, self.realism)
            self._photograph(number, first, camera, tones, around, arrays, "reference", place * PHOTOS)
            spot = replace(spot_near(second, camera, rng), sky=(camera.sky + 1) % SKIES)
            tones = hour.develop(draw_tones(rng, self.realism))
            self._photograph(number, second, spot, tones, [int(rng.integers(columns))], arrays, "query", place)
        return len(places)

    def _photograph(
        self, number: int, scene: Scene, spot: Camera, tones: np.ndarray, starts: list[int], arrays: dict, role: str,
        row: int,
    ) -> None:  # fmt: skip
        """Render a panorama of scene `number`, and store the photos that start at these columns from `row` on."""
        panorama = apply_tones(panorama_camera(*self.panorama_size, _RAYS).render(scene, spot), tones)
        width = self.photo_size[1]
        rows = slice(row, row + len(starts))
        arrays[f"{role}_images"][rows] = [cut(panorama, start, width) for start in starts]
        arrays[f"{role}_headings"][rows] = [heading(start, width, panorama.shape[1]) for start in starts]
        arrays[f"{role}_positions"][rows] = self.origin(number) + scene.position(spot)


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
    """Return the degrees clockwise from north to which the middle of a cut (see `cut`) looks; column 0 is south."""
    return ((start + width / 2) / panorama_width * 360 + 180) % 360
