"""Reading images in batches, in this process or in several; an image that cannot be used becomes its reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor
from torch.utils.data import Dataset

from ..utils.errors import NotSquareError
from ..utils.loading import ReportingLoader
from ..utils.seed import one_thread_worker
from .geotags import Heading
from .photos import BadImageError, Photo, read_photo

Source: TypeAlias = str | os.PathLike | Tensor | Photo


@dataclass(frozen=True, eq=False)
class ReadResult:
    """One image of a `PhotoReader`, or why it cannot be used.

    Args:
        number: its place among the sources.
        pixels: uint8 `[3, h, w]`, of the size in which it goes to the device; None with a fault.
        position: latitude and longitude in degrees from its EXIF, where it has them.
        fault: why there are no pixels, as a part of a sentence after the image's name.
        note: why there is no position although the EXIF has one, likewise.
        looks: where the middle of a query looks by its EXIF or XMP, where they say it.
        taken_as: of a query, what it was taken for, see `query_views`.
        turned: of a query, where its middle was known to look, in degrees, and was turned to.
        unsure: of a query, what must be known of how it was taken, as a part of a sentence after its name.
    """

    number: int
    pixels: Tensor | None = None
    position: tuple[float, float] | None = None
    fault: str | None = None
    note: str | None = None
    looks: Heading | None = None
    taken_as: str = ""
    turned: float = 0.0
    unsure: str | None = None


class PhotoReader(Dataset):
    """Read images by their numbers.

    Args:
        sources: paths, decoded photos, or uint8 `[3, H, W]`.
        on_load: `ImageTransform.on_load` of the images' role, which resizes them.
    """

    def __init__(self, sources: Sequence[Source], on_load: Callable[[Tensor], Tensor]):
        self.sources, self.on_load = sources, on_load

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, number: int) -> ReadResult:
        source = self.sources[number]
        try:
            if isinstance(source, Tensor):
                source = Photo(source)
            return self.result(number, source if isinstance(source, Photo) else read_photo(source))
        except BadImageError as error:
            return ReadResult(number, fault=str(error))
        except NotSquareError as error:
            return ReadResult(number, fault=f"does not suit the model: {error.message.rstrip('.')}")

    def result(self, number: int, photo: Photo) -> ReadResult:
        """Return what becomes of a photo that could be decoded."""
        return ReadResult(number, self.on_load(photo.pixels), photo.position, note=photo.note)

    def batches(
        self, batch_size: int, numbers: Sequence[int] | None = None, workers: int = 0
    ) -> Iterator[list[ReadResult]]:
        """Return lists of at most `batch_size` results, of the images of these numbers, or of all, in order."""
        numbers = range(len(self)) if numbers is None else numbers
        if len(numbers):
            yield from ReportingLoader(
                self, batch_size, sampler=numbers, num_workers=workers, collate_fn=list,
                worker_init_fn=one_thread_worker if workers else None,
            )  # fmt: skip
