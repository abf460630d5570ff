"""The images of one role (all queries or all references), read one at a time; none is opened before it is asked for."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from .decode import decode_image

CoordinateKind = Literal["latlon", "metres"]
Rows = tuple[float, float]  # a part of an image's height, as fractions from the top
WHOLE: Rows = (0.0, 1.0)


def part_of_height(fractions: Sequence[float]) -> Rows:
    """Return two fractions of a height as such.

    Raises:
        UserError: they are none, or nothing lies between them.
    """
    try:
        top, bottom = map(float, fractions)
    except (TypeError, ValueError):
        top = bottom = 0.0
    if not 0 <= top < bottom <= 1:
        remedy = "Give two fractions of the height, from the top: 0.25 0.75 is the middle half."
        raise UserError(f"{fractions!r} is no part of a panorama's height.", remedy)
    return top, bottom


class Names(Sequence[str]):
    """An immutable sequence of strings, packed as UTF-8, so that loader workers share its memory.

    A Python string is written to whenever a worker looks at it (its reference count), which copies the memory that a
    fork would have shared. 92,802 paths take 7 MB here and 12 MB as Python strings.
    """

    def __init__(self, names: Iterable[str]):
        encoded = [name.encode(errors="surrogateescape") for name in names]  # names of files may be no UTF-8
        self._text = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: int) -> str:  # type: ignore[override]  # no slices
        i = range(len(self))[i]
        return self._text[self._ends[i] : self._ends[i + 1]].tobytes().decode(errors="surrogateescape")


class Images(ABC):
    """Images with ids and, where the data set has them, coordinates.

    Args:
        ids: one name an image, as the data set gives it.
        coordinates: float64 `[N, 2]`: latitude and longitude in degrees, or metres east and north.
        coordinate_kind: "latlon" or "metres"; None without coordinates.

    Raises:
        ValueError: the coordinates do not fit the ids or lack their kind.
    """

    def __init__(
        self, ids: Sequence[str], coordinates: np.ndarray | None = None, coordinate_kind: CoordinateKind | None = None
    ):
        if (coordinates is None) != (coordinate_kind is None):
            raise ValueError("coordinates and coordinate_kind are given together or not at all")
        if coordinates is not None:
            coordinates = np.asarray(coordinates, np.float64)
            if coordinates.shape != (len(ids), 2):
                raise ValueError(f"{len(ids)} images need coordinates [{len(ids)}, 2], not {list(coordinates.shape)}")
        self.ids = ids
        self.coordinates = coordinates
        self.coordinate_kind = coordinate_kind

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def read(self, i: int) -> Tensor:
        """Return image i as uint8 `[3, H, W]`, already cropped as the data set prescribes."""

    def whole(self, i: int) -> Tensor:
        """Return image i before the crop, uint8 `[3, H, W]`."""
        return self.read(i)

    def path(self, i: int) -> Path | None:
        """Return the file of image i; None where it has none of its own."""
        return None

    def take(self, rows: Sequence[int] | np.ndarray) -> Images:
        """Return the images of some rows, int `[n]`, in that order."""
        return _Selection(self, np.asarray(rows, np.int64))


class ImageFiles(Images):
    """Images in files.

    Args:
        root: the folder that the paths start from.
        paths: one path an image, relative to root, with forward slashes.
        ids: one name an image; the stem of the file's name by default.
        rows: the part of the height that is kept, as fractions from the top.
        coordinates: see `Images`.
        coordinate_kind: see `Images`.

    Raises:
        ValueError: there are more or fewer ids than paths, or the coordinates do not fit.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        paths: Iterable[str],
        ids: Iterable[str] | None = None,
        rows: Rows = WHOLE,
        coordinates: np.ndarray | None = None,
        coordinate_kind: CoordinateKind | None = None,
    ):
        self.root = Path(root)
        self.paths = Names(paths)
        self.rows = rows
        ids = (PurePosixPath(path).stem for path in self.paths) if ids is None else ids
        super().__init__(Names(ids), coordinates, coordinate_kind)
        if len(self.ids) != len(self.paths):
            raise ValueError(f"{len(self.paths)} paths came with {len(self.ids)} ids")

    def path(self, i: int) -> Path:
        """Return the file of image i."""
        return self.root / self.paths[i]

    def read(self, i: int) -> Tensor:
        """Decode file i and keep its rows, uint8 `[3, H, W]`; errors as of `whole`."""
        image = self.whole(i)
        height = image.shape[1]
        top, bottom = (round(part * height) for part in self.rows)
        return image[:, top : max(bottom, top + 1)]

    def whole(self, i: int) -> Tensor:
        """Decode file i, uint8 `[3, H, W]`.

        Raises:
            DatasetNotFoundError: the file is not there.
            DatasetCorruptError: the file is no complete image.
        """
        path = self.path(i)
        try:
            return decode_image(path.read_bytes())
        except OSError as error:
            raise DatasetNotFoundError(
                f"Image {i} of {len(self)}, {path}, cannot be read ({error.strerror}).",
                "Extract or copy it again, then start anew.",
            ) from error
        except ValueError as error:
            raise DatasetCorruptError(
                f"Image {i} of {len(self)}, {path}, is damaged ({error}).",
                "Extract or copy it again; no other picture is put in its place.",
            ) from error

    def take(self, rows: Sequence[int] | np.ndarray) -> ImageFiles:
        """Return the images of some rows, int `[n]`, in that order."""
        rows = np.asarray(rows, np.int64)
        coordinates = None if self.coordinates is None else self.coordinates[rows]
        paths, ids = ([names[i] for i in rows.tolist()] for names in (self.paths, self.ids))
        return ImageFiles(self.root, paths, ids, self.rows, coordinates, self.coordinate_kind)


class ImageArray(Images):
    """Images of one size in an array, for example a memory map: uint8 `[N, H, W, 3]`.

    Raises:
        ValueError: the array is another one, or ids or coordinates do not fit it.
    """

    def __init__(
        self,
        array: np.ndarray,
        ids: Iterable[str] | None = None,
        coordinates: np.ndarray | None = None,
        coordinate_kind: CoordinateKind | None = None,
    ):
        if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8:
            raise ValueError(f"images must be uint8 [N, H, W, 3], not {array.dtype} {list(array.shape)}")
        super().__init__(Names(map(str, range(len(array))) if ids is None else ids), coordinates, coordinate_kind)
        if len(self.ids) != len(array):
            raise ValueError(f"{len(array)} images came with {len(self.ids)} ids")
        self.array = array

    def read(self, i: int) -> Tensor:
        """Return a copy of image i, uint8 `[3, H, W]`, because the array may be a read-only memory map."""
        return torch.from_numpy(np.array(self.array[i])).permute(2, 0, 1)


class _Selection(Images):
    """Rows of other images."""

    def __init__(self, images: Images, rows: np.ndarray):
        coordinates = None if images.coordinates is None else images.coordinates[rows]
        super().__init__(Names(images.ids[i] for i in rows.tolist()), coordinates, images.coordinate_kind)
        self._images = images
        self._rows = rows

    def path(self, i: int) -> Path | None:
        return self._images.path(int(self._rows[i]))

    def read(self, i: int) -> Tensor:
        return self._images.read(int(self._rows[i]))

    def whole(self, i: int) -> Tensor:
        return self._images.whole(int(self._rows[i]))
