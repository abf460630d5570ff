"""The synthetic worlds as data sets: `synth-suburb` and its sisters, rendered on first use.

`-offset`: tiles lie on a grid, and the camera anywhere in its tile. `-wide`: every scene looks and was taken otherwise.
`-ground`: place recognition, two drives an hour apart through the same streets.
"""

from __future__ import annotations

import os

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import UnknownNameError
from ..worlds import Drives, DriveSpec, World, WorldSpec, list_worlds
from ..worlds.panorama import DOWN, UP
from ..worlds.tiles import TILE_SIDE
from .base import Split
from .images import ImageArray
from .offsets import Offsets
from .places import within
from .registry import DatasetFacts, register_dataset
from .street_views import KS

COUNTS = {"train": 1500, "test": 500}  # panoramas of each split: a laptop renders a thousand in about five seconds
_PREFIX, _OFFSET, _WIDE, _GROUND = "synth-", "-offset", "-wide", "-ground"
NAMES = tuple(f"{_PREFIX}{style}{suffix}" for style in list_worlds() for suffix in ("", _OFFSET, _WIDE))
GROUND_NAMES = tuple(f"{_PREFIX}{style}{_GROUND}" for style in list_worlds())
# Metres. The spots from which a place is seen lie up to 8 m apart, and places mostly 12 m and more: with the 25 m of
# real sets, whose places are kilometres of streets, half of the gallery of a street would be right.
FOUND_WITHIN = 10.0
NO_NEGATIVES_WITHIN = 25.0  # as in the real sets: from 15 m away much of what is seen is the same


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
    look: str = "",
    cache_dir: str | os.PathLike | None = None,
) -> Split:
    """Render one split of a synthetic world, or read it from the cache.

    Every tile is a place of its own; a panorama belongs to the place of its positive tile.

    Args:
        name: "synth-" and a world's name; with "-offset" the tiles lie on a grid, and the camera anywhere in its tile;
            with "-wide" looks, cameras and captures vary widely.
        split: "train" or "test".
        root: taken so that all data sets are loaded alike, and not used: nothing has to be on disk beforehand.
        count: number of panoramas; COUNTS[split] if None.
        panorama_size: (height, width), pixels.
        aerial_size: pixels along a tile.
        seed: another number gives other places.
        realism: scale of the capture errors; 0 is the exact world.
        look: what the panoramas show the same places at, one of `worlds.LOOKS` such as "night"; "" as they usually are.
        cache_dir: where rendered worlds are kept; see worlds.cache_root for the default.

    Raises:
        UnknownNameError: there is no such world, or no such look.
    """
    if name not in NAMES:
        raise UnknownNameError("synthetic data set", name, NAMES)
    spec = WorldSpec(
        name.removeprefix(_PREFIX).removesuffix(_OFFSET).removesuffix(_WIDE), split,
        COUNTS[split] if count is None else count, panorama_size, aerial_size, name.endswith(_OFFSET),
        wide=name.endswith(_WIDE), seed=seed, realism=realism, seen=look,
    )  # fmt: skip
    return _split_of_world(name, spec, World.load(spec, cache_dir))


def _split_of_world(name: str, spec: WorldSpec, world: World) -> Split:
    positive, offset = np.array(world.truth[:, 0]), spec.offset
    note = "The positive of a panorama is the tile whose centre is nearest to its recorded place."
    truth = Truth.from_lists(positive[:, None], np.array(world.truth[:, 1:]) if offset else None)
    positions = world.query_positions, world.reference_positions
    return Split(
        name=name,
        split=spec.split,
        queries=ImageArray(world.query_images, spec.names("query"), world.query_positions, "metres"),
        references=ImageArray(world.reference_images, spec.names("reference"), world.reference_positions, "metres"),
        pairs=np.stack([np.arange(len(positive)), positive], axis=1),
        query_places=positive,
        reference_places=np.arange(len(world.reference_images)),
        truth=truth,
        layout="rendered",
        percent_rounding="floor_plus_one" if offset else "floor",
        centred=not offset,
        notes=(note,) if offset else (),
        offsets=Offsets.from_positions(truth, *positions, TILE_SIDE) if offset else None,
    )


def load_ground(
    name: str,
    split: str,
    root: str | os.PathLike | None = None,
    *,
    count: int | None = None,
    view_size: tuple[int, int] = (64, 88),
    seed: int = 0,
    realism: float = 1.0,
    cache_dir: str | os.PathLike | None = None,
) -> Split:
    """Render one split of two drives through a synthetic world, or read it from the cache.

    Six references show every place, each 90 degrees wide. A query shows it at another hour, from 1 to 8 m away, looking
    anywhere. Right are all references within 10 m of a query, whatever they look at; a training pair is the query and
    the reference of its place that looks most nearly where it does.

    Args:
        name: "synth-", a world's name, and "-ground".
        split: "train" or "test".
        root: taken so that all data sets are loaded alike, and not used: nothing has to be on disk beforehand.
        count: number of places; COUNTS[split] if None.
        view_size: (height, width), pixels.
        seed: another number gives other places.
        realism: scale of the differences of exposure and colour, and of the cars that come and go.
        cache_dir: where rendered views are kept; see worlds.cache_root for the default.

    Raises:
        UnknownNameError: there is no such world.
    """
    if name not in GROUND_NAMES:
        raise UnknownNameError("synthetic data set", name, GROUND_NAMES)
    spec = DriveSpec(
        name.removeprefix(_PREFIX).removesuffix(_GROUND), split, COUNTS[split] if count is None else count,
        view_size, seed=seed, realism=realism,
    )  # fmt: skip
    drives = Drives.load(spec, cache_dir)
    pairs = pair_headings(drives)
    return Split(
        name=name,
        split=split,
        queries=ImageArray(drives.query_images, spec.names("query"), drives.query_positions, "metres"),
        references=ImageArray(drives.reference_images, spec.names("reference"), drives.reference_positions, "metres"),
        pairs=pairs,
        query_places=np.arange(len(pairs)),
        reference_places=np.repeat(np.arange(len(pairs)), len(drives.reference_images) // len(pairs)),
        truth=Truth(within(drives.query_positions, drives.reference_positions, FOUND_WITHIN, "metres")),
        layout="rendered",
        centred=False,
        notes=(f"Right are all views that were taken within {FOUND_WITHIN:g} m of the query.",),
        exclusion_radius=NO_NEGATIVES_WITHIN if split == "train" else None,
        ks=KS,
    )


def pair_headings(drives: Drives) -> np.ndarray:
    """Pair every query with the reference of its place whose heading is nearest, int64 `[N, 2]`."""
    rows = np.arange(len(drives.query_images))
    headings = np.asarray(drives.reference_headings).reshape(len(rows), -1)
    degrees = np.abs((headings - drives.query_headings[:, None] + 180) % 360 - 180)
    return np.stack([rows, rows * headings.shape[1] + degrees.argmin(axis=1)], axis=1)


for _names, _load in ((NAMES, load_synthetic), (GROUND_NAMES, load_ground)):
    for _name in _names:
        _style = _name.split("-")[1]
        _facts = DatasetFacts(
            title=_name,
            paper="rendered here",
            scale="laptop",
            centred=_names is NAMES and not _name.endswith(_OFFSET),
            areas=(_style, _style),
            elevations=(UP, DOWN),
        )
        register_dataset(_name, _facts)(_load)
