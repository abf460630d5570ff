"""Rendered worlds on disk: a folder for each request, complete or not there at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..utils.cache_folder import complete_folder
from ..utils.npy_files import new_array
from .spec import Spec

MANIFEST = "manifest.json"
_REMEDY = "Set GEODTR_CACHE to a folder with room for it."


def cached(spec: Spec, root: Path, render: Callable[[Path], None]) -> dict[str, np.ndarray]:
    """Return a world's arrays by name, of the shapes that `spec` says, memory-mapped; render them if need be.

    Args:
        spec: the request.
        root: folder of the cache.
        render: fills the arrays that it finds in a folder, all zero.

    Raises:
        UserError: the cache has no room for the world, or cannot be written to.
    """

    def read(folder: Path) -> dict[str, np.ndarray] | None:
        try:
            if (folder / MANIFEST).read_text(encoding="utf-8") == spec.manifest():
                return open_arrays(folder, spec, mode="r")
        except (OSError, ValueError, EOFError):  # missing, cut short, not text, not an array
            pass
        return None

    def write(folder: Path) -> None:
        for name, (shape, dtype) in spec.arrays().items():
            new_array(folder / f"{name}.npy", shape, dtype, "a synthetic world", _REMEDY)
        (folder / MANIFEST).write_text(spec.manifest(), encoding="utf-8")
        render(folder)

    target = root / "worlds" / spec.key()
    size = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in spec.arrays().values())
    arrays = complete_folder(target, read, write, size, _REMEDY)
    return open_arrays(target, spec, mode="r") if arrays is None else arrays


def open_arrays(folder: Path, spec: Spec, mode: str) -> dict[str, np.ndarray]:
    """Return memory maps of all arrays in a folder, of the shapes that `spec` says.

    Raises:
        ValueError: an array is not as the request says.
        OSError: an array is missing.
    """
    arrays = {}
    for name, (shape, dtype) in spec.arrays().items():
        array = np.load(folder / f"{name}.npy", mmap_mode=mode)
        if array.shape != shape or array.dtype != dtype:
            expected = f"{np.dtype(dtype)} {shape}"
            raise ValueError(f"{folder / name}.npy holds {array.dtype} {array.shape}, expected {expected}.")
        arrays[name] = array
    return arrays
