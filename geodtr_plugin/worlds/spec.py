"""Requests for rendered images, what all kinds of worlds have in common: scenes, places, and their key in the cache."""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import ClassVar

import numpy as np

from ..utils.errors import UserError
from ..utils.roles import SPLITS
from .builder import TRANSIENT, make_scene
from .cameras import NoRoomError
from .scene import Scene
from .styles import Style, get_style

VERSION = 1  # raise it whenever pixels change: what people have in their caches is then rendered anew
SCENE_PITCH = 1000.0  # metres between the western edges of neighbouring scenes on the map of a split
SPLIT_PITCH = 100_000.0  # metres between the southern edges of the maps of the two splits
_SCENES = 1_000_000  # scenes kept apart for each seed and split
_ELSEWHERE = 8  # other scenes tried where one has no room
_ASIDE = 1 << 62  # from a scene's seed to that of the one in its place: further than any two numbers lie apart
LATER = {"later": True}  # metadata of a field younger than people's caches: at its default the manifest is as before

ArrayShape = tuple[tuple[int, ...], type]  # shape and dtype


@dataclass(frozen=True)
class Spec(ABC):
    """A request for N queries and M references; equal requests give equal pictures.

    Args:
        style: name of the world, one of `list_worlds()`.
        split: "train" or "test"; they share no scene.
        count: number N of queries; the first n of them are the same for every count of at least n.
        seed: another number gives other scenes.
        realism: scale of all that a real capture adds, 0 to 2; 0 is the exact world.

    Raises:
        UserError: the request cannot be met.
        UnknownNameError: there is no such style.
    """

    style: str
    split: str
    count: int
    seed: int = field(default=0, kw_only=True)
    realism: float = field(default=1.0, kw_only=True)

    image_words: ClassVar[Mapping[str, str]] = {"query": "query", "reference": "reference"}  # in the images' names

    def __post_init__(self) -> None:
        get_style(self.style)
        if self.split not in SPLITS:
            raise UserError(f"A world has the splits {' and '.join(SPLITS)}, not {self.split!r}.")
        whole = isinstance(self.count, Integral) and isinstance(self.seed, Integral) and isinstance(self.realism, Real)
        if not whole or self.count < 1 or self.seed < 0 or not 0 <= self.realism <= 2:
            asked = f"not {self.count!r}, {self.seed!r} and {self.realism!r}"
            raise UserError(f"A world needs whole numbers count >= 1 and seed >= 0, and realism from 0 to 2, {asked}.")
        object.__setattr__(self, "realism", float(self.realism))

    @abstractmethod
    def arrays(self) -> dict[str, ArrayShape]:
        """Return shapes and dtypes of the rendered arrays; for their meaning see `Rendered`."""

    @abstractmethod
    def render_scene(self, number: int, arrays: dict[str, np.ndarray]) -> int:
        """Draw scene `number`, fill its rows of the arrays, and return how many queries these are."""

    @property
    def title(self) -> str:
        """Style and kind of the world."""
        return self.style

    @property
    def cameras(self) -> int:
        """Queries that are taken in one scene."""
        return get_style(self.style).cameras

    @property
    def scenes(self) -> int:
        """How many scenes are drawn."""
        return math.ceil(self.count / self.cameras)

    def scene_seed(self, number: int) -> int:
        """Return the seed of one scene; no two of all seeds, splits and numbers share one."""
        return (self.seed * len(SPLITS) + SPLITS.index(self.split)) * _SCENES + number

    def look(self, number: int) -> Style:
        """Return the look of scene `number`."""
        return get_style(self.style)

    def extent(self, number: int) -> dict[str, float]:
        """Return size, cell and margin of scene `number` in metres, those that differ from `make_scene`'s own."""
        return {}

    def draw_scene(self, number: int, style: Style | None = None) -> Scene:
        """Draw scene `number`, with another look than its own if a style is passed.

        Where the roads have no room for all cameras, it is a scene of another seed.
        """
        transient, look, extent = TRANSIENT * min(1.0, self.realism), style or self.look(number), self.extent(number)
        seed = self.scene_seed(number)
        for _ in range(_ELSEWHERE):
            try:
                return make_scene(look, seed, **extent, cameras=self.cameras, transient=transient)
            except NoRoomError:
                seed += _ASIDE
        return make_scene(look, seed, **extent, cameras=self.cameras, transient=transient)

    def queries_of(self, number: int) -> range:
        """Return the rows of the queries that are taken in one scene, one at each of its first cameras."""
        return range(number * self.cameras, min((number + 1) * self.cameras, self.count))

    def origin(self, number: int) -> np.ndarray:
        """Return the south-west corner of a scene on the map of all scenes, float64 `[2]`, metres (east, north)."""
        return np.array([number * SCENE_PITCH, SPLITS.index(self.split) * SPLIT_PITCH])

    def rng(self, number: int, *stream: int) -> np.random.Generator:
        """Return the random numbers of one purpose in one scene; the scene itself is drawn from others."""
        return np.random.default_rng([self.scene_seed(number), *stream])

    def names(self, role: str) -> list[str]:
        """Return a name for each image of a role, "query" or "reference", unique over styles, splits and seeds."""
        (count, *_), _ = self.arrays()[f"{role}_images"]
        prefix = f"{self.title}-{self.split}-{self.seed}-{self.image_words[role]}"
        return [f"{prefix}-{number:06d}" for number in range(count)]

    def manifest(self) -> str:
        """Return all that the pictures depend on, as JSON."""
        asked = asdict(self)
        for one in fields(self):
            if one.metadata == LATER and asked[one.name] == one.default:
                del asked[one.name]
        return json.dumps({"kind": type(self).__name__, **asked, "version": VERSION}, indent=2)

    def key(self) -> str:
        """Return the name of the folder in the cache."""
        digest = hashlib.sha256(self.manifest().encode()).hexdigest()[:12]
        return f"{self.title}-{self.split}-{self.count}-v{VERSION}-{digest}"
