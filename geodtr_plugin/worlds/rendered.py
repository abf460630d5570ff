"""Rendered pictures, from the cache or made for it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..utils.cache_folder import cache_root
from .cache import cached
from .pool import render_world
from .spec import Spec


@dataclass(frozen=True, eq=False)
class Rendered:
    """The pictures that answer a request, memory-mapped and read-only.

    Attributes:
        spec: the request.
        query_images, reference_images: uint8 `[N, H, W, 3]` and `[M, H, W, 3]`.
        query_positions, reference_positions: float64 `[N, 2]` and `[M, 2]`, metres (east, north).
    """

    spec: Spec
    query_images: np.ndarray
    query_positions: np.ndarray
    reference_images: np.ndarray
    reference_positions: np.ndarray

    def names(self, role: str) -> list[str]:
        """Return a name for each image of a role, "query" or "reference", unique over styles, splits and seeds."""
        images = getattr(self, f"{role}_images")
        return [f"{self.spec.image_prefix(role)}-{number:06d}" for number in range(len(images))]


def load_arrays(
    spec: Spec, cache_dir: str | os.PathLike | None, workers: int | None, progress: bool
) -> dict[str, np.ndarray]:
    """Return the arrays that answer a request, read-only memory maps, rendered first if they are not in the cache.

    Args:
        cache_dir, workers, progress: see `load_world`.

    Raises:
        UserError: the cache has no room for them.
    """

    def render(folder: Path) -> None:
        if progress:
            note = f"Rendering the synthetic world {spec.key()} into {folder.parent}; later runs find it there."
            tqdm.write(note, file=sys.stderr)
        render_world(spec, folder, workers, progress)

    return cached(spec, cache_root(cache_dir), render)
