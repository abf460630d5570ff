"""The synthetic worlds as data sets: `synth-suburb` and its sisters, and their `-offset` variants."""

from __future__ import annotations

import os

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import UnknownNameError
from ..worlds import World, WorldSpec, list_worlds
from .base import Split
from .images import ImageArray

COUNTS = {"train": 1500, "test": 500}  # panoramas of each split: a laptop renders a thousand in about five seconds
_PREFIX, _OFFSET = "synth-", "-offset"
NAMES = tuple(f"{_PREFIX}{style}{suffix}" for style in list_worlds() for suffix in ("", _OFFSET))


def load_synthetic(
    name: str,
    split: str,
    root: str | os.PathLike | None = None,
    *,
    count: int | None = None,
    panorama_size: tuple[int, int] = (64, 176),
    aerial_size: int = 96,
    seed: int = 0,
    realism: float = 1.0,
    cache_dir: str | os.PathLike | None = None,
) -> Split:
    """One split of a synthetic world, rendered on first use.

    Args:
        name: "synth-" and a world's name; with "-offset" the tiles lie on a grid, and the camera anywhere in its tile.
        split: "train" or "test".
        root: taken so that all data sets are loaded alike, and not used: nothing has to be on disk beforehand.
        count: number of panoramas; COUNTS[split] if None.
        panorama_size: (height, width), pixels.
        aerial_size: pixels along a tile of 72 m.
        seed: another number gives other places.
        realism: scale of the capture errors; 0 is the exact world.
        cache_dir: where rendered worlds are kept; see worlds.cache_root for the default.
    """
    if name not in NAMES:
        raise UnknownNameError("synthetic data set", name, NAMES)
    spec = WorldSpec(
        name.removeprefix(_PREFIX).removesuffix(_OFFSET), split, COUNTS[split] if count is None else count,
        panorama_size, aerial_size, name.endswith(_OFFSET), seed=seed, realism=realism,
    )  # fmt: skip
    return _to_index(name, split, World.load(spec, cache_dir))


def _to_index(name: str, split: str, world: World) -> Split:
    """Every tile is a place of its own; a panorama belongs to the place of its positive tile."""
    positive = np.array(world.truth[:, 0])
    offset = world.spec.offset
    ignored = np.array(world.truth[:, 1:]) if offset else None
    return Split(
        name=name,
        split=split,
        queries=ImageArray(world.query_images, world.spec.names("query"), world.query_positions, "metres"),
        references=ImageArray(world.reference_images, world.spec.names("reference"), world.reference_positions, "metres"),
        pairs=np.stack([np.arange(len(positive)), positive], axis=1),
        query_places=positive,
        reference_places=np.arange(len(world.reference_images)),
        truth=Truth.from_lists(positive[:, None], ignored),
        layout="rendered",
        percent_rounding="floor_plus_one" if offset else "floor",
        centred=not offset,
        notes=("The positive of a panorama is the tile whose centre is nearest to its recorded place.",)
        if offset
        else (),
    )
