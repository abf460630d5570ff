"""Rendered images, from the cache or made for it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from ..utils.cache_folder import cache_root
from ..utils.visible import visible
from .cache import cached
from .pool import render_world
from .spec import Spec

Kind = TypeVar("Kind", bound="Rendered")


@dataclass(frozen=True, eq=False)
class Rendered:
    """The images that answer a request, read-only memory maps.

    Attributes:
        spec: the request for N queries and M references.
        query_images, reference_images: uint8 `[N, H, W, 3]` and `[M, H, W, 3]`.
        query_positions, reference_positions: float64 `[N, 2]` and `[M, 2]`, metres (east, north).
    """

    spec: Spec
    query_images: np.ndarray
    query_positions: np.ndarray
    reference_images: np.ndarray
    reference_positions: np.ndarray

    @classmethod
    def load(
        cls: type[Kind],
        spec: Spec,
        cache_dir: str | os.PathLike | None = None,
        workers: int | None = None,
        progress: bool = True,
    ) -> Kind:
        """Return the images of a request from the cache, rendered first if they are not there.

        Args:
            spec: the request.
            cache_dir: folder of the cache; default $GEODTR_CACHE, $XDG_CACHE_HOME/geodtr or ~/.cache/geodtr.
            workers: rendering processes; None takes one for each CPU, 1 renders in this process.
            progress: print what is rendered and show a progress bar.

        Raises:
            UserError: the cache has no room for the images, or cannot be written to.
        """

        def render(folder: Path) -> None:
            if progress:
                note = f"Rendering the synthetic world {spec.key()} into {folder.parent}; later runs find it there."
                tqdm.write(visible(note), file=sys.stderr)
            render_world(spec, folder, workers, progress)

        return cls(spec, **cached(spec, cache_root(cache_dir), render))
