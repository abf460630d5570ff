"""What a rendered world consists of, computed from what was asked for."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .styles import get_style

SPLITS = ("train", "test")
TILE_SIDE = 72.0  # metres along an aerial tile
_COARSEST = 0.4  # metres: the scene's cells are at most this wide
_SMALL = 256  # columns up to which a panorama is small
_SCENES = 1_000_000  # scenes kept apart for each seed and split


@cache
def generator_version() -> str:
    """Changes with any change of the code that draws the worlds, so that old pictures are never mistaken for new."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


@dataclass(frozen=True)
class WorldSpec:
    """A request for a world; equal requests give equal pictures.

    Args:
        style: name of the world.
        split: "train" or "test"; they share no scene.
        count: number of panoramas.
        panorama_size: (height, width) in pixels.
        aerial_size: pixels along a tile of TILE_SIDE metres.
        seed: another number gives other scenes.
        realism: scale of the capture errors; 0 is the exact world.
        offset: tiles on a grid, panoramas anywhere in them, instead of one tile centred on each panorama.
    """

    style: str
    split: str
    count: int
    panorama_size: tuple[int, int] = (64, 176)
    aerial_size: int = 96
    seed: int = 0
    realism: float = 1.0
    offset: bool = False

    def __post_init__(self) -> None:
        get_style(self.style)
        object.__setattr__(self, "panorama_size", tuple(int(side) for side in self.panorama_size))
        object.__setattr__(self, "realism", float(self.realism))
        if self.split not in SPLITS:
            raise ValueError(f"A world has the splits {' and '.join(SPLITS)}, not {self.split!r}.")
        if len(self.panorama_size) != 2 or min(*self.panorama_size, self.aerial_size) < 4 or self.aerial_size > 512:
            raise ValueError(f"Cannot render panoramas of {self.panorama_size} and tiles of {self.aerial_size} pixels.")
        if self.count < 1 or self.seed < 0 or not 0 <= self.realism <= 2:
            raise ValueError("A world needs count >= 1, seed >= 0 and a realism between 0 and 2.")

    @property
    def supersample(self) -> int:
        """Cells along a pixel of a tile: the fewest that are fine enough and make the tile an even number of cells."""
        factor = math.ceil(TILE_SIDE / _COARSEST / self.aerial_size)
        return factor if factor * self.aerial_size % 2 == 0 else factor + 1

    @property
    def rays(self) -> int:
        """Rays along each side of a panorama's pixel: small panoramas would show jagged road marks with one."""
        return 2 if self.panorama_size[1] <= _SMALL else 1

    @property
    def cell(self) -> float:
        """Metres along a cell of the scenes."""
        return TILE_SIDE / (self.aerial_size * self.supersample)

    @property
    def scenes(self) -> int:
        """How many scenes are drawn."""
        return math.ceil(self.count / get_style(self.style).cameras)

    def scene_seed(self, number: int) -> int:
        """Seed of one scene; no two of all seeds, splits and numbers share one."""
        return (self.seed * len(SPLITS) + SPLITS.index(self.split)) * _SCENES + number

    def queries_of(self, number: int) -> range:
        """The panoramas that are taken from one scene."""
        cameras = get_style(self.style).cameras
        return range(number * cameras, min((number + 1) * cameras, self.count))

    def arrays(self, tiles: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shapes and types of the stored arrays, if every scene has `tiles` tiles on its grid."""
        references = self.scenes * tiles if self.offset else self.count
        return {
            "panoramas": ((self.count, *self.panorama_size, 3), np.dtype(np.uint8)),
            "aerials": ((references, self.aerial_size, self.aerial_size, 3), np.dtype(np.uint8)),
            "truth": ((self.count, 4 if self.offset else 1), np.dtype(np.int64)),
            "query_positions": ((self.count, 2), np.dtype(np.float64)),
            "reference_positions": ((references, 2), np.dtype(np.float64)),
        }

    def manifest(self) -> dict:
        """All that the pictures depend on, ready for JSON."""
        return {**asdict(self), "panorama_size": list(self.panorama_size), "generator": generator_version()}

    @classmethod
    def from_manifest(cls, manifest: dict) -> WorldSpec:
        """The request that a manifest was written for."""
        return cls(**{name: manifest[name] for name in cls.__dataclass_fields__})

    def key(self) -> str:
        """Name of the folder in the cache."""
        height, width = self.panorama_size
        kind = "-offset" if self.offset else ""
        return (
            f"{self.style}{kind}-{self.split}-{self.count}-{height}x{width}-{self.aerial_size}"
            f"-seed{self.seed}-realism{self.realism:g}-{generator_version()}"
        )
