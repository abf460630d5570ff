"""Resized images on disk, uint8 and memory-mapped: from the second epoch on nothing is decoded any more."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ..utils.cache_folder import cache_root, complete_folder, sweep
from ..utils.errors import DamagedFileError, DatasetCorruptError, DatasetNotFoundError, UserError
from ..utils.loading import ReportingLoader
from ..utils.npy_files import new_array
from ..utils.reading import read_json
from ..utils.roles import ROLE_FOLDERS
from ..utils.seed import one_thread_worker
from ..utils.visible import visible
from .base import LoadTransform, Split
from .images import Images
from .joined import JoinedSplit, for_each_set

log = logging.getLogger("geodtr_plugin")

VERSION = 2  # another number makes all caches anew; 2: images are upright, whatever their EXIF orientation
PROBES = 16  # images whose pixels are part of a cache's name: other pictures under the same ids get another cache
_ARRAY, _MANIFEST = "images.npy", "manifest.json"
_REMEDY = "Name a folder with room for it, set GEODTR_CACHE to one, or run without the cache."


class CachedImages(Images):
    """The images of a cache; pickled as the file's name, so that every loader worker maps the file itself.

    Args:
        path: an .npy file, uint8 `[N, 3, H, W]`.
        images: those that it was made from; ids and coordinates are theirs.
    """

    def __init__(self, path: str | os.PathLike[str], images: Images):
        super().__init__(images.ids, images.coordinates, images.coordinate_kind)
        self.file = Path(path)
        self._array: np.ndarray | None = None

    def read(self, i: int) -> Tensor:
        """Return image i as it was loaded, uint8 `[3, H, W]`: a copy, because the file is mapped read-only.

        Raises:
            DatasetNotFoundError: the file cannot be read.
        """
        if self._array is None:
            try:
                self._array = np.asarray(np.load(self.file, mmap_mode="r"))  # a plain array is indexed faster
            except (OSError, ValueError) as error:
                raise DatasetNotFoundError(
                    f"The cached images {self.file} cannot be read ({error}).", "Start anew to have them made again."
                ) from error
        return torch.from_numpy(self._array[i].copy())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


def cached(
    split: Split,
    query_transform: LoadTransform,
    reference_transform: LoadTransform,
    folder: str | os.PathLike[str] | None = None,
    workers: int = 0,
) -> Split:
    """Return a split whose images are read from a cache on disk, as they come from a loader's worker.

    A role that is not there yet is made: in a folder of another name, which is renamed when it is complete, so that an
    interruption leaves nothing that could be taken for a cache, and of two writers the second uses the first one's.
    Caches are told apart by data set, split, ids, transform, stored pixels of a few images, and VERSION; of several
    training sets, each has its own.

    Args:
        split: the split as stored.
        query_transform: of the queries.
        reference_transform: of the references. Tiles for the polar transform are kept as stored.
        folder: where caches are kept; None: as for synthetic worlds, see `utils.cache_folder.cache_root`.
        workers: processes that decode; 0 decodes in this one.

    Raises:
        UserError: the cache does not fit on the disk, cannot be written, or images have different sizes.
        DatasetCorruptError: an image is damaged.
    """
    if isinstance(split, JoinedSplit):
        return for_each_set(split, lambda part: cached(part, query_transform, reference_transform, folder, workers))
    root = cache_root(folder) / "images"
    transforms = zip(ROLE_FOLDERS, (query_transform, reference_transform))
    caches = [_RoleCache(split, role, transform, root) for role, transform in transforms]
    incomplete = [cache for cache in caches if not cache.is_complete()]
    if incomplete:
        _announce(incomplete, root)
    queries, references = (cache.images(workers) for cache in caches)
    return replace(split, queries=queries, references=references)


class _RoleCache:
    """The images of one role under one transform, and the folder where their cache is or will be."""

    def __init__(self, split: Split, role: str, transform: LoadTransform, root: Path):
        self.transform, self.stored = transform, getattr(split, role)
        self.title = f"{split.name} {split.split} {role}"
        count = len(self.stored)
        probes = np.unique(np.linspace(0, count - 1, PROBES, dtype=np.int64)) if count else []
        pixels = [self.stored.read(int(i)) for i in probes]
        self.shape = (count, *(transform.on_load(pixels[0]).shape if pixels else (3, 1, 1)))
        self.manifest = {
            "version": VERSION,
            "images": self.title,
            "shape": list(self.shape),
            # an earlier name of the class, and no `tile`, stand in the caches that people have
            "view": repr(transform).replace("ImageTransform(", "ViewTransform(").replace(", tile=None", ""),
            "ids": _digest("\n".join(self.stored.ids).encode(errors="surrogateescape")),
            "pixels": _digest(*(image.contiguous().numpy() for image in pixels)),
        }
        key = _digest(json.dumps(self.manifest, sort_keys=True).encode())
        self.target = root / f"{re.sub('[^A-Za-z0-9_.-]+', '-', self.title)[-80:]}-{key}"

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape))

    def is_complete(self) -> bool:
        """Tell whether the cache is there, with the array that its manifest describes."""
        try:
            manifest = read_json(self.target / _MANIFEST)
            array = np.load(self.target / _ARRAY, mmap_mode="r")
        except (DamagedFileError, OSError, ValueError, EOFError):  # missing, cut short, not JSON, not an array
            return False
        return manifest == self.manifest and array.shape == self.shape and array.dtype == np.uint8

    def images(self, workers: int) -> CachedImages:
        """Return the cached images, and write them first if they are not there."""

        def write(folder: Path) -> None:
            self._write(folder, workers)

        complete_folder(self.target, lambda _: self.is_complete() or None, write, self.size, _REMEDY)
        return CachedImages(self.target / _ARRAY, self.stored)

    def _write(self, folder: Path, workers: int) -> None:
        new_array(folder / _ARRAY, self.shape, np.uint8, "cached images", _REMEDY)
        writer = _Writer(self.stored, self.transform, folder / _ARRAY, self.shape[1:])
        loader = ReportingLoader(writer, batch_size=16, num_workers=workers, worker_init_fn=one_thread_worker)
        with tqdm(total=len(writer), desc=visible(f"cache {self.title}", one_line=True), unit="image") as bar:
            for numbers in loader:
                bar.update(len(numbers))
        (folder / _MANIFEST).write_text(json.dumps(self.manifest, indent=2), encoding="utf-8")


class _Writer(Dataset):
    """Item i is i, after image i has been written to its place in the file, by whichever process was asked.

    Through a file and not a memory map: a disk that is full is then an error, and not the end of the process.
    """

    def __init__(self, images: Images, transform: LoadTransform, path: Path, shape: tuple[int, ...]):
        self.images, self.transform, self.path, self.shape = images, transform, path, shape
        self.start = np.load(path, mmap_mode="r").offset

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> int:
        pixels = self.transform.on_load(self.images.read(i))
        if tuple(pixels.shape) != self.shape:
            raise DatasetCorruptError(
                f"Image {i}, {self.images.ids[i]}, has {pixels.shape[1]}x{pixels.shape[2]} pixels, but the first one "
                f"has {self.shape[1]}x{self.shape[2]}.",
                "A cache holds images of one size, and tiles for the polar transform are cached as stored: run without "
                "the cache or without the polar transform.",
            )
        with self.path.open("r+b") as file:
            file.seek(self.start + i * pixels.numel())
            file.write(pixels.contiguous().numpy())
        return i


def _announce(caches: list[_RoleCache], root: Path) -> None:
    """Log what will be written and where, before it is; refuse what does not fit."""
    size = sum(cache.size for cache in caches)
    what = " and ".join(f"{cache.shape[0]:,} images of {cache.title}" for cache in caches)
    try:
        root.mkdir(parents=True, exist_ok=True)
        sweep(root)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise UserError(f"Cannot write to the cache folder {root} ({error.strerror}).", _REMEDY) from error
    log.info(f"cache {what}: {_readable_size(size)} in {root}, where {_readable_size(free)} are free")
    if free < size * 1.02:  # the rest for the file system's own tables
        raise UserError(
            f"The cache of {what} needs {_readable_size(size)}, but {root} has {_readable_size(free)} left.", _REMEDY
        )


def _readable_size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(getattr(part, "shape", "")).encode())
        digest.update(part)
    return digest.hexdigest()[:12]
