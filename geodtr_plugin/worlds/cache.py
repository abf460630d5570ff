"""Rendered worlds on disk: a folder for each request, complete or not there at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..utils.cache_folder import discard, new_folder, publish, sweep
from ..utils.errors import UserError
from .rendering import array_shapes
from .spec import WorldSpec

_MANIFEST = "manifest.json"
_ATTEMPTS = 3  # a world may be damaged or removed by others just after it was rendered
_REMEDY = "Set GEODTR_CACHE to a folder with room for it."


def cached(spec: WorldSpec, root: Path, render: Callable[[Path], None]) -> dict[str, np.ndarray]:
    """The arrays of a world, read-only memory maps; `render(folder)` fills prepared arrays if they are not there yet.

    They are written in a folder of another name, which is renamed when it is complete. Of two processes that render
    the same world at once, the second to finish uses what the first one left.
    """
    target = root / "worlds" / spec.key()
    for _ in range(_ATTEMPTS):
        arrays = open_if_complete(target, spec)
        if arrays is not None:
            return arrays
        discard(target)
        partial = _prepare(target, spec)
        try:
            render(partial)
            publish(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return open_arrays(target, spec, mode="r")


def open_if_complete(folder: Path, spec: WorldSpec) -> dict[str, np.ndarray] | None:
    """The arrays in `folder`, or None unless its manifest and all arrays are those of the request."""
    try:
        if read_manifest(folder) == spec.manifest():
            return open_arrays(folder, spec, mode="r")
    except (OSError, ValueError):  # missing, cut short, not JSON, not an array
        pass
    return None


def read_manifest(folder: Path) -> dict:
    """What the folder was rendered for."""
    return json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))


def open_arrays(folder: Path, spec: WorldSpec, mode: str) -> dict[str, np.ndarray]:
    """Memory maps of all arrays; raises ValueError where one is not as the request says."""
    arrays = {}
    for name, (shape, dtype) in array_shapes(spec).items():
        array = np.load(folder / f"{name}.npy", mmap_mode=mode)
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{folder / name}.npy holds {array.dtype} {array.shape}, expected {dtype} {shape}.")
        arrays[name] = array
    return arrays


def _prepare(target: Path, spec: WorldSpec) -> Path:
    """A new folder beside the target with empty arrays and the manifest."""
    shapes = array_shapes(spec)
    size = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in shapes.values())
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = new_folder(target.parent)
    except OSError as error:
        raise UserError(f"Cannot write to the cache folder {target.parent} ({error.strerror}). {_REMEDY}") from error
    sweep(target.parent)
    if shutil.disk_usage(partial).free < size * 1.05:
        partial.rmdir()
        raise UserError(f"This world needs {size / 1e6:.0f} MB, more than is free in {target.parent}. {_REMEDY}")
    for name, (shape, dtype) in shapes.items():
        np.lib.format.open_memmap(partial / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
    (partial / _MANIFEST).write_text(json.dumps(spec.manifest(), indent=2), encoding="utf-8")
    return partial
