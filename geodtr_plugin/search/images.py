"""Reading listed images in batches, in this process or in several; a bad one becomes its reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..utils.seed import one_thread_worker
from .photos import BadImageError, Photo, read_photo


@dataclass(frozen=True, eq=False)
class Read:
    """What became of one image.

    Args:
        row: its number in the list.
        pixels: uint8 `[3, h, w]` as the view wants it, or None.
        position: latitude and longitude from its EXIF.
        fault: why there are no pixels.
    """

    row: int
    pixels: Tensor | None = None
    position: tuple[float, float] | None = None
    fault: str | None = None


class Reader(Dataset):
    """Item i is what becomes of source i.

    Args:
        sources: paths, or uint8 `[3, H, W]`.
        on_load: the view's part in the loader.
    """

    def __init__(self, sources: Sequence[str | os.PathLike | Tensor], on_load: Callable[[Tensor], Tensor]):
        self.sources, self.on_load = sources, on_load

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, row: int) -> Read:
        source = self.sources[row]
        try:
            photo = Photo(source) if isinstance(source, Tensor) else read_photo(source)
            return Read(row, self.on_load(photo.pixels), photo.position)
        except BadImageError as error:
            return Read(row, fault=str(error))
        except ValueError as error:  # the polar view's, of a tile that is not square
            return Read(row, fault=f"does not suit the model: {str(error).rstrip('.')}")

    def batches(self, batch_size: int, first: int = 0, workers: int = 0) -> Iterator[list[Read]]:
        """Lists of items from item `first` on, in order."""
        yield from DataLoader(
            self, batch_size, sampler=range(first, len(self)), num_workers=workers, collate_fn=list,
            worker_init_fn=one_thread_worker if workers else None,
        )  # fmt: skip
