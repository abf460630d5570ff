"""A folder of folders, one a building: which images it holds, and which it should hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..utils.errors import DatasetCorruptError
from .images import ImageFiles

_EXTENSIONS = (".jpeg", ".jpg", ".png")


@dataclass(frozen=True)
class Buildings:
    """The images of one role.

    Args:
        folder: relative to the data set's.
        images: names of the images by the name of the building's folder, both sorted.
    """

    folder: str
    images: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, root: Path, folder: str) -> Buildings:
        """Lists the folders; hidden ones, and those that systems leave behind, are passed over."""
        with os.scandir(root / folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] not in ".@_")
        strange = next((name for name in names if not name.isdecimal()), None)
        if strange is not None:
            raise DatasetCorruptError(
                f"{root / folder / strange} is not named with a building's number, such as 0839; move it elsewhere."
            )
        return cls(folder, {name: _list_images(root / folder / name) for name in names})

    def __len__(self) -> int:
        return sum(map(len, self.images.values()))

    def labels(self) -> np.ndarray:
        """The building of every image, int64 `[N]`."""
        counts = [len(names) for names in self.images.values()]
        return np.repeat(np.array(list(self.images), np.int64), counts)

    def ranks(self) -> np.ndarray:
        """The number of every image within its building, int64 `[N]`."""
        return np.concatenate([np.empty(0, np.int64), *(np.arange(len(names)) for names in self.images.values())])

    def files(self, root: Path) -> ImageFiles:
        """The images, building by building."""
        names = [f"{building}/{name}" for building, names in self.images.items() for name in names]
        ids = [os.path.splitext(name)[0] for name in names]
        return ImageFiles(root, [f"{self.folder}/{name}" for name in names], ids)

    def only(self, buildings: Sequence[str]) -> Buildings:
        """Those of the given buildings."""
        kept = frozenset(buildings)
        return Buildings(self.folder, {name: images for name, images in self.images.items() if name in kept})

    def usual(self, others: Iterable[str] = ()) -> list[str]:
        """Paths of the images that its buildings, and the given others, have if each has what most of them have.

        Most, not all: University-1652 itself has one building with a drone view more than the others.
        """
        stems = [{_stem(building, name): name for name in names} for building, names in self.images.items()]
        held = dict(zip(self.images, stems))
        counts = Counter(stem for names in stems for stem in names)
        most = sorted(stem for stem, count in counts.items() if 2 * count > sum(map(bool, stems)))
        ends = Counter(os.path.splitext(name)[1] for names in self.images.values() for name in names).most_common(1)
        end = ends[0][0] if ends else ".jpg"
        return [
            f"{self.folder}/{building}/{held.get(building, {}).get(stem, stem.format(building) + end)}"
            for building in sorted({*self.images, *others})
            for stem in most or ([] if held.get(building) else ["*"])
        ]


def _stem(building: str, name: str) -> str:
    """An image's name without extension; {} stands for the name of its building, as satellite images have it."""
    stem = os.path.splitext(name)[0]
    return "{}" if stem == building else stem.replace("{", "{{").replace("}", "}}")


def _list_images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.lower().endswith(_EXTENSIONS))
