"""Photos as people have them, as the panoramas (or parts of them) that a model's queries are.

What a photo is                                 What becomes of it
----------------------------------------------  ------------------------------------------------------------------
panorama all around, without a word on itself   resized, as in training; of a model with --fov, its middle is cut
panorama with GPano XMP                         placed at its azimuths and elevations; the rest gets its rows' colours
photo with a focal length (35 mm) in its EXIF   the same, through its own projection
photo without, model with --fov                 taken as that field of view
photo without, model of whole panoramas         resized as if it were a panorama; it is named
fisheye, round or by the name of its lens       left out
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..augmentations import ImageTransform
from ..datasets.registry import DATASETS
from ..methods.packaged import packaged_folder
from ..methods.weights import read_config
from ..utils.errors import UserError
from .framing import Frame
from .matches import Answer
from .optics import WIDE, Equirectangular
from .photo_reader import PhotoReader, ReadResult, Source
from .photos import BadImageError, Photo

PANORAMA, PART, PHOTO = "panorama", "part of a panorama", "photo"
WHOLE_SPHERE = (90.0, -90.0)
FISHEYE = "is a fisheye picture: make a panorama of it first, as the camera's own program or Hugin does"
STRETCHED = "is no panorama by its shape and does not say how wide it looks: it is taken as a whole panorama"
NO_HEADING = "does not say where it looks: its middle is taken for north"
_DARK, _OUTSIDE, _INSIDE = 24, 0.98, 0.5  # of 255; share of dark points outside of a circle at least, inside at most

Known = float | Literal["photo"] | None


@dataclass(frozen=True)
class QueryView:
    """A photo as the network's transform takes it.

    Args:
        pixels: uint8 `[3, h, w]`.
        taken_as: PANORAMA, PART or PHOTO.
        turned: where its middle was known to look, in degrees clockwise from north, and was turned to; 0 if unknown.
        note: what a user must know, as a part of a sentence after its name, or None.
    """

    pixels: Tensor
    taken_as: str
    turned: float = 0.0
    note: str | None = None


@dataclass(frozen=True)
class QueryViews:
    """What makes queries of photos.

    Args:
        image: the image transform of queries; of cropped ones, without a panorama around them.
        cropped: every photo shows just what the network sees, whatever its file says.
        heading: where the middle of every photo looks, in degrees clockwise from north; "photo" believes the photos'
            own EXIF or XMP; None: nothing is known, and the middle is taken for north.
        elevations: of the upper and lower edge of the panoramas that the model was trained on, in degrees.

    Raises:
        UserError: the elevations are none, or the heading is no direction.
    """

    image: ImageTransform
    cropped: bool = False
    heading: Known = None
    elevations: tuple[float, float] = WHOLE_SPHERE

    def __post_init__(self):
        up, down = self.elevations
        if not 90 >= up > down >= -90:
            raise UserError(
                f"--elevations {up:g} {down:g} are no edges of a panorama.",
                "Give degrees above the horizon, the upper edge first: 36 -29.5.",
            )
        if isinstance(self.heading, float | int) and not -360 <= self.heading <= 360:
            remedy = "Give degrees clockwise from north, or the word photo."
            raise UserError(f"--heading {self.heading:g} is no direction.", remedy)

    def view(self, photo: Photo) -> QueryView:
        """Return a photo as the network's transform takes it.

        Raises:
            BadImageError: it is a fisheye picture.
        """
        if photo.optics.fisheye or shows_circles(photo.pixels):
            raise BadImageError(FISHEYE)
        if self.cropped:
            return QueryView(self.image.on_load(photo.pixels), PHOTO)
        height, width = photo.pixels.shape[-2:]
        frame = Frame(*self.image.size, *self.elevations)
        takes_panoramas = frame.width >= WIDE * frame.height  # else the model was trained on photos as they are
        projection = photo.optics.projection if takes_panoramas else None
        if projection is None and self.limited and width < WIDE * height:
            projection = Equirectangular(360 * self.image.width / frame.width, *self.elevations)
        heading = self._heading(photo)
        unknown = NO_HEADING if self.heading == "photo" and photo.heading is None else None
        if projection is None or projection == frame.projection:
            is_one = width >= WIDE * height
            note = STRETCHED if takes_panoramas and not is_one else unknown
            turned = photo.pixels.roll(round(heading / 360 * width), -1)
            return QueryView(self.image.on_load(turned), PANORAMA if is_one else PHOTO, heading, note)
        whole = projection.span >= 360
        if self.limited and not whole:
            heading = 0.0  # what the network sees is the middle of the frame
        pixels = frame.place(photo.pixels, projection, heading)
        kind = PART if isinstance(photo.optics.projection, Equirectangular) else PHOTO
        return QueryView(self.image.on_load(pixels), PANORAMA if whole else kind, heading, unknown)

    @property
    def limited(self) -> bool:
        """Whether the network sees a part of the panorama only."""
        return self.image.panorama_width is not None

    def _heading(self, photo: Photo) -> float:
        if self.heading == "photo":
            return 0.0 if photo.heading is None else photo.heading.degrees
        return float(self.heading or 0)


class QueryReader(PhotoReader):
    """Read queries by their numbers; arguments as for `PhotoReader`, with `views` in place of a plain resizing."""

    def __init__(self, sources: Sequence[Source], views: QueryViews):
        super().__init__(sources, views.image.on_load)
        self.views = views

    def result(self, number: int, photo: Photo) -> ReadResult:
        """Return the photo as a query, with what its file says of it."""
        view = self.views.view(photo)
        return ReadResult(
            number, view.pixels, photo.position, None, photo.note, photo.heading, view.taken_as, view.turned, view.note
        )


def names_of(images: Sequence[Source]) -> list[str]:
    """Return the name of each query: its path, or "image N".

    Raises:
        ValueError: a tensor is no uint8 `[3, H, W]`.
    """
    for image in images:
        if isinstance(image, Tensor) and (image.dtype.is_floating_point or image.ndim != 3 or len(image) != 3):
            raise ValueError(f"images must be uint8 [3, H, W], not {image.dtype} {list(image.shape)}")
    return [f"image {i}" if isinstance(image, Tensor | Photo) else os.fspath(image) for i, image in enumerate(images)]


def answer_of(image: ReadResult, name: str) -> Answer:
    """Return what is known of a query before it is searched for."""
    return Answer(name, (), image.fault, image.position, image.note, image.looks, image.taken_as, image.unsure)


def shows_circles(pixels: Tensor) -> bool:
    """Tell whether a picture `[3, H, W]` is one round image on black, or two side by side, as fisheye cameras write."""
    step = max(1, max(pixels.shape[-2:]) // 256)
    dark = pixels[:, ::step, ::step].amax(0) < _DARK
    height, width = dark.shape
    halves = dark.chunk(2, 1) if width > height else dark.chunk(2, 0)
    return _is_circle(dark) or (len(halves) == 2 and all(map(_is_circle, halves)))


def _is_circle(dark: Tensor) -> bool:
    """Tell whether what is not dark, bool `[H, W]`, is the round middle."""
    height, width = dark.shape
    y, x = (torch.arange(size) + 0.5 - size / 2 for size in (height, width))
    radius = (y[:, None] ** 2 + x**2).sqrt() / (min(height, width) / 2)
    outside, inside = dark[radius > 1.05], dark[radius < 0.9]
    return bool(outside.float().mean() > _OUTSIDE and inside.float().mean() < _INSIDE)


def trained_elevations(folder: str | os.PathLike[str]) -> tuple[float, float]:
    """Return the elevations of the edges of the panoramas that a run, an exported folder or a packaged model saw.

    They are those of the first training set that says some; a part of the height that was kept of own panoramas counts.
    """
    config = read_config(packaged_folder(folder) or Path(folder))
    trained, run = config.get("training", {}), config.get("run", {})
    names = trained.get("train") or run.get("train") or ()
    facts = (DATASETS[name].facts for name in ([names] if isinstance(names, str) else names) if name in DATASETS)
    known = next((facts.elevations for facts in facts if facts.elevations is not None), None)
    if known is not None:
        return known
    top, bottom = run.get("data", {}).get("panorama_rows") or (0.0, 1.0)
    return 90 - 180 * top, 90 - 180 * bottom
