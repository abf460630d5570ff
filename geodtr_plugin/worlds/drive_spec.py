"""What two drives through a world consist of, computed from what was asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from .spec import WorldSpec, generator_version

FOV = 90.0  # degrees that a view shows
VIEWS = 6  # reference views of a place: any heading shares two thirds of its view with one of them, or more


@dataclass(frozen=True)
class DriveSpec:
    """A request for two drives; equal requests give equal pictures.

    Args:
        style: name of the world.
        split: "train" or "test"; they share no scene.
        count: number of places, of which each has one query and VIEWS references.
        view_size: (height, width) in pixels.
        seed: another number gives other scenes.
        realism: scale of the differences of exposure and colour, and of the cars that come and go.
    """

    style: str
    split: str
    count: int
    view_size: tuple[int, int] = (64, 88)
    seed: int = 0
    realism: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "view_size", tuple(int(side) for side in self.view_size))
        object.__setattr__(self, "realism", float(self.realism))
        _ = self.world  # which checks the numbers

    @property
    def panorama_size(self) -> tuple[int, int]:
        """(height, width) of the panoramas that views are cut from."""
        return self.view_size[0], round(self.view_size[1] * 360 / FOV)

    @property
    def world(self) -> WorldSpec:
        """The cross-view world with the same scenes and places."""
        return WorldSpec(
            self.style, self.split, self.count, self.panorama_size, seed=self.seed, realism=self.realism
        )  # fmt: skip

    @property
    def scenes(self) -> int:
        """How many scenes are drawn."""
        return self.world.scenes

    def arrays(self, tiles: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shapes and types of the stored arrays; there are no tiles."""
        found = {}
        for role, count in (("query", self.count), ("reference", self.count * VIEWS)):
            found[f"{role}_views"] = ((count, *self.view_size, 3), np.dtype(np.uint8))
            found[f"{role}_positions"] = ((count, 2), np.dtype(np.float64))
            found[f"{role}_headings"] = ((count,), np.dtype(np.float64))
        return found

    def manifest(self) -> dict:
        """All that the pictures depend on, ready for JSON."""
        return {**asdict(self), "view_size": list(self.view_size), "generator": generator_version()}

    @classmethod
    def from_manifest(cls, manifest: dict) -> DriveSpec:
        """The request that a manifest was written for."""
        return cls(**{name: manifest[name] for name in cls.__dataclass_fields__})

    def key(self) -> str:
        """Name of the folder in the cache."""
        height, width = self.view_size
        return (
            f"{self.style}-drives-{self.split}-{self.count}-{height}x{width}-seed{self.seed}"
            f"-realism{self.realism:g}-{generator_version()}"
        )
