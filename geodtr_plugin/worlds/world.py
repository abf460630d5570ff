"""A rendered world: panoramas, aerial tiles and which belongs to which."""

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
from .spec import WorldSpec


@dataclass(frozen=True, eq=False)
class World:
    """N panoramas and M tiles of one style and split.

    Attributes:
        spec: the request that this world answers.
        panoramas: uint8 [N, H, W, 3], memory-mapped.
        aerials: uint8 [M, S, S, 3], memory-mapped.
        truth: int64 [N, 1], the panorama's tile; in an offset world [N, 4], the positive and three neutral tiles.
        query_positions, reference_positions: float64 [N, 2] and [M, 2], metres (east, north): where the panoramas were
            recorded (capture errors included) and the tiles' centres.
    """

    spec: WorldSpec
    panoramas: np.ndarray
    aerials: np.ndarray
    truth: np.ndarray
    query_positions: np.ndarray
    reference_positions: np.ndarray

    @property
    def query_names(self) -> list[str]:
        """A name for each panorama, unique over styles, splits and seeds."""
        return [f"{self._prefix}-ground-{number:06d}" for number in range(len(self.panoramas))]

    @property
    def reference_names(self) -> list[str]:
        """A name for each tile."""
        return [f"{self._prefix}-aerial-{number:06d}" for number in range(len(self.aerials))]

    @property
    def _prefix(self) -> str:
        return f"{self.spec.style}{'-offset' if self.spec.offset else ''}-{self.spec.split}-{self.spec.seed}"


def load_world(
    style: str,
    split: str,
    count: int,
    *,
    panorama_size: tuple[int, int] = (64, 176),
    aerial_size: int = 96,
    seed: int = 0,
    realism: float = 1.0,
    offset: bool = False,
    cache_dir: str | os.PathLike | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> World:
    """A world from the cache, rendered first if it is not there.

    The first n panoramas of a world are the same for every count of at least n; so are the tiles.

    Args:
        style: one of list_worlds().
        split: "train" or "test"; they share no scene.
        count: number of panoramas.
        panorama_size: (height, width), pixels; the full circle by 65.5 degrees, whatever the size.
        aerial_size: pixels along a tile of 72 m.
        seed: another number gives other scenes.
        realism: scale of the capture errors (position 2 m on each axis, heading 4 degrees, colours); 0 is exact.
        offset: tiles on a grid whose step is half a tile, panoramas anywhere in them.
        cache_dir: folder of the cache; default $GEODTR_CACHE, $XDG_CACHE_HOME/geodtr or ~/.cache/geodtr.
        workers: rendering processes; None takes one for each CPU, 1 renders in this process.
        progress: show what is rendered and a progress bar.
    """
    spec = WorldSpec(style, split, count, panorama_size, aerial_size, seed, realism, offset)

    def render(folder: Path) -> None:
        message = f"Rendering the synthetic world {spec.key()} into {folder.parent}; later runs find it there."
        if progress:
            tqdm.write(message, file=sys.stderr)
        render_world(spec, folder, workers, progress)

    return World(spec, **cached(spec, cache_root(cache_dir), render))
