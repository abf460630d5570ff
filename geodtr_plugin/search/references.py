"""The contract of references: what an index or a store is built of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from .photo_reader import ReadResult


class References(Protocol):
    """What an index is built of: images in files (`ImageList`), or tiles that are cut (`tile_sources`).

    Attributes:
        root: the folder that the names start from, or the source of the tiles.
        files: a name for each, in a fixed order.
        positions: latitude and longitude in degrees by name, for those that do not bring their own.
        left_out: (name, reason) of what cannot be used, as far as that is known without opening it.
        notes: sentences that a user must read.
    """

    @property
    def root(self) -> Path: ...
    @property
    def files(self) -> Sequence[str]: ...
    @property
    def positions(self) -> dict[str, tuple[float, float]]: ...
    @property
    def left_out(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...

    def reader(self, on_load: Callable[[Tensor], Tensor]) -> Reader:
        """Return what reads them by their numbers, each resized by `on_load`."""

    def state(self) -> dict[str, Any]:
        """Return all that their pixels and places depend on, as plain values."""

    def stamp(self, number: int) -> str:
        """Return what changes when the pixels or the place of one of them do."""

    def described(self) -> dict[str, Any]:
        """Return what a manifest says of them besides."""


class Reader(Protocol):
    """Reads references in batches, as `PhotoReader` does."""

    def batches(
        self, batch_size: int, numbers: Sequence[int] | None = None, workers: int = 0
    ) -> Iterator[list[ReadResult]]: ...
