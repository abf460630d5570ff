"""Place recognition in the synthetic worlds: `synth-suburb-ground` and its sisters, asked for on the ground."""

from __future__ import annotations

import os

import numpy as np

from ..evaluation.truth import Truth
from ..utils.errors import UnknownNameError
from ..worlds import Drives, DriveSpec, list_worlds
from .base import Split
from .images import ImageArray
from .near import within
from .street_views import KS
from .synthetic import COUNTS

_PREFIX, _SUFFIX = "synth-", "-ground"
NAMES = tuple(f"{_PREFIX}{style}{_SUFFIX}" for style in list_worlds())
# Metres. The spots from which a place is seen lie up to 8 m apart, and places mostly 12 m and more: with the 25 m of
# real sets, whose places are kilometres of streets, half of the gallery of a street would be right.
FOUND_WITHIN = 10.0
NO_NEGATIVES_WITHIN = 25.0  # as in the real sets: from 15 m away much of what is seen is the same


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
    """One split of two drives through a synthetic world, rendered on first use.

    Six references show every place, each 90 degrees wide. A query shows it at another hour, from 1 to 8 m away, looking
    anywhere. Right are all references within 10 m of a query, whatever they look at; a training pair is the query and
    the reference of its place that looks most nearly where it does.

    Args:
        name: "synth-", a world's name, and "-ground".
        split: "train" or "test".
        root: taken so that all data sets are loaded alike, and not used: nothing has to be on disk beforehand.
        count: number of places; that of the other synthetic sets if None.
        view_size: (height, width), pixels.
        seed: another number gives other places.
        realism: scale of the differences of exposure and colour, and of the cars that come and go.
        cache_dir: where rendered views are kept; see worlds.cache_root for the default.
    """
    if name not in NAMES:
        raise UnknownNameError("synthetic data set", name, NAMES)
    spec = DriveSpec(
        name.removeprefix(_PREFIX).removesuffix(_SUFFIX), split, COUNTS[split] if count is None else count,
        view_size, seed=seed, realism=realism,
    )  # fmt: skip
    drives = Drives.load(spec, cache_dir)
    pairs = alike(drives)
    places = np.repeat(np.arange(len(pairs)), len(drives.reference_images) // len(pairs))
    return Split(
        name=name,
        split=split,
        queries=ImageArray(drives.query_images, spec.names("query"), drives.query_positions, "metres"),
        references=ImageArray(drives.reference_images, spec.names("reference"), drives.reference_positions, "metres"),
        pairs=pairs,
        query_places=np.arange(len(pairs)),
        reference_places=places,
        truth=Truth(within(drives.query_positions, drives.reference_positions, FOUND_WITHIN, "metres")),
        layout="rendered",
        centred=False,
        notes=(f"Right are all views that were taken within {FOUND_WITHIN:g} m of the query.",),
        exclusion_radius=NO_NEGATIVES_WITHIN if split == "train" else None,
        ks=KS,
    )


def alike(drives: Drives) -> np.ndarray:
    """Every query with the reference of its place whose heading is nearest, int64 `[N, 2]`."""
    rows = np.arange(len(drives.query_images))
    headings = np.asarray(drives.reference_headings).reshape(len(rows), -1)
    apart = np.abs((headings - drives.query_headings[:, None] + 180) % 360 - 180)
    return np.stack([rows, rows * headings.shape[1] + apart.argmin(axis=1)], axis=1)
