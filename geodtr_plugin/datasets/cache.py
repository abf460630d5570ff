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
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..utils.cache_folder import cache_root, discard, new_folder, publish, sweep
from ..utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from ..utils.roles import ROLE_FOLDERS
from ..utils.seed import one_thread_worker
from .base import Split, View
from .images import Images

log = logging.getLogger("geodtr_plugin")

VERSION = 1  # another number makes all caches anew
PROBES = 16  # images whose pixels are part of a cache's name: other pictures under the same ids get another cache
_ARRAY, _MANIFEST = "images.npy", "manifest.json"
_ATTEMPTS = 3  # a cache may be removed by others just after it was made
_REMEDY = "Name a folder with room for it, set GEODTR_CACHE to one, or run without the cache."


class CachedImages(Images):
    """The images of a cache; pickled as the file's name, so that every loader worker maps the file itself.

    Args:
        path: an .npy file, uint8 `[N, 3, H, W]`.
        images: those that it was made from; ids and coordinates are theirs.
    """

    def __init__(self, path: str | os.PathLike[str], images: Images):
        super().__init__(images.ids, images.coordinates, images.coordinate_kind)
        self.path = Path(path)
        self._array: np.ndarray | None = None

    def read(self, i: int) -> Tensor:
        """Image i as it comes from its view; a copy, because the file is mapped read-only."""
        if self._array is None:
            try:
                self._array = np.asarray(np.load(self.path, mmap_mode="r"))  # a plain array is indexed faster
            except (OSError, ValueError) as error:
                raise DatasetNotFoundError(
                    f"The cached images {self.path} cannot be read ({error}). Start anew to have them made again."
                ) from error
        return torch.from_numpy(self._array[i].copy())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}


def cached(
    index: Split,
    query_view: View,
    reference_view: View,
    folder: str | os.PathLike[str] | None = None,
    workers: int = 0,
) -> Split:
    """The same index with the images of both roles as they come from their views, read from a cache on disk.

    A role that is not there yet is made: in a folder of another name, which is renamed when it is complete, so that an
    interruption leaves nothing that could be taken for a cache, and of two writers the second uses the first one's.
    Caches are told apart by data set, split, ids, view, stored pixels of a few images, and VERSION.

    Args:
        index: the data set.
        query_view: the queries' view.
        reference_view: the references' view. Tiles for the polar transform are kept as stored.
        folder: where caches are kept; None: as for synthetic worlds, see `utils.cache_folder.cache_root`.
        workers: processes that decode; 0 decodes in this one.

    Raises:
        UserError: the cache does not fit on the disk, cannot be written, or images have different sizes.
        DatasetCorruptError: an image is damaged.
    """
    root = cache_root(folder) / "images"
    requests = [_Request(index, role, view, root) for role, view in zip(ROLE_FOLDERS, (query_view, reference_view))]
    missing = [request for request in requests if not request.is_complete()]
    if missing:
        _announce(missing, root)
    return replace(index, **{request.role: request.cached_images(workers) for request in requests})




class _Request:
    """The images of one role under one view, and the folder where their cache is or will be."""

    def __init__(self, index: Split, role: str, view: View, root: Path):
        self.role, self.view, self.images = role, view, getattr(index, role)
        self.title = f"{index.name} {index.split} {role}"
        probes = np.unique(np.linspace(0, len(self.images) - 1, PROBES, dtype=np.int64)) if len(self.images) else []
        pixels = [self.images.read(int(i)) for i in probes]
        self.shape = (len(self.images), *(view.on_load(pixels[0]).shape if pixels else (3, 1, 1)))
        self.manifest = {
            "version": VERSION,
            "images": self.title,
            "shape": list(self.shape),
            "view": repr(view),
            "ids": _digest("\n".join(self.images.ids).encode()),
            "pixels": _digest(*(image.contiguous().numpy() for image in pixels)),
        }
        key = _digest(json.dumps(self.manifest, sort_keys=True).encode())
        self.target = root / f"{re.sub('[^A-Za-z0-9_.-]+', '-', self.title)[-80:]}-{key}"

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape))

    def is_complete(self) -> bool:
        """Whether the cache is there, with the array that its manifest describes."""
        try:
            manifest = json.loads((self.target / _MANIFEST).read_text(encoding="utf-8"))
            array = np.load(self.target / _ARRAY, mmap_mode="r")
        except (OSError, ValueError):  # missing, cut short, not JSON, not an array
            return False
        return manifest == self.manifest and array.shape == self.shape and array.dtype == np.uint8

    def cached_images(self, workers: int) -> CachedImages:
        """The images, which are written first if they are not there."""
        for _ in range(_ATTEMPTS):
            if self.is_complete():
                break
            discard(self.target)
            partial = new_folder(self.target.parent)
            try:
                self._write(partial, workers)
                publish(partial, self.target)
            except OSError as error:
                if isinstance(error, UserError):
                    raise
                raise UserError(f"The cache {self.target} cannot be written ({error.strerror}). {_REMEDY}") from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return CachedImages(self.target / _ARRAY, self.images)

    def _write(self, folder: Path, workers: int) -> None:
        np.lib.format.open_memmap(folder / _ARRAY, mode="w+", dtype=np.uint8, shape=self.shape)
        writer = _Writer(self.images, self.view, folder / _ARRAY, self.shape[1:])
        loader = DataLoader(writer, batch_size=16, num_workers=workers, worker_init_fn=one_thread_worker)
        with tqdm(total=len(writer), desc=f"cache {self.title}", unit="image") as bar:
            for numbers in loader:
                bar.update(len(numbers))
        (folder / _MANIFEST).write_text(json.dumps(self.manifest, indent=2), encoding="utf-8")


class _Writer(Dataset):
    """Item i is i, after image i has been written to its place in the file, by whichever process was asked.

    Through a file and not a memory map: a disk that is full is then an error, and not the end of the process.
    """

    def __init__(self, images: Images, view: View, path: Path, shape: tuple[int, ...]):
        self.images, self.view, self.path, self.shape = images, view, path, shape
        self.start = np.load(path, mmap_mode="r").offset

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> int:
        pixels = self.view.on_load(self.images.read(i))
        if tuple(pixels.shape) != self.shape:
            raise DatasetCorruptError(
                f"Image {i}, {self.images.ids[i]}, has {pixels.shape[1]}x{pixels.shape[2]} pixels, but the first one "
                f"has {self.shape[1]}x{self.shape[2]}. A cache holds images of one size, and tiles for the polar "
                "transform are cached as stored: run without the cache or without the polar transform."
            )
        with self.path.open("r+b") as file:
            file.seek(self.start + i * pixels.numel())
            file.write(pixels.contiguous().numpy())
        return i


def _announce(requests: list[_Request], root: Path) -> None:
    """Says what will be written and where, before it is; refuses what does not fit."""
    size = sum(request.size for request in requests)
    what = " and ".join(f"{request.shape[0]:,} images of {request.title}" for request in requests)
    try:
        root.mkdir(parents=True, exist_ok=True)
        sweep(root)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise UserError(f"Cannot write to the cache folder {root} ({error.strerror}). {_REMEDY}") from error
    log.info(f"cache {what}: {_readable_size(size)} in {root}, where {_readable_size(free)} are free")
    if free < size * 1.02:  # the rest for the file system's own tables
        raise UserError(
            f"The cache of {what} needs {_readable_size(size)}, but {root} has {_readable_size(free)} left. {_REMEDY}"
        )


def _readable_size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(getattr(part, "shape", "")).encode())
        digest.update(part)
    return digest.hexdigest()[:12]
