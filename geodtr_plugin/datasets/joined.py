"""Several training sets as one split, in which their places are distinct."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
from torch import Tensor

from ..evaluation.truth import Truth
from ..utils.ragged import Ragged
from .base import Split
from .images import Images, Names
from .offsets import Offsets


@dataclass(frozen=True, eq=False, repr=False)
class JoinedSplit(Split):
    """Training sets one after the other: rows of the second follow those of the first, and so do its places.

    Coordinates, radii of exclusion and rules of samplers belong to the sets, which are kept for those who need them.

    Args:
        parts: the sets, with the places that they have here.
    """

    parts: tuple[Split, ...] = ()

    def keep(self, queries: np.ndarray, references: np.ndarray) -> Split:
        """Raise TypeError: sets are cut before they are joined."""
        raise TypeError("limit the training sets before they are joined")


class JoinedImages(Images):
    """The images of several sets, one set after the other.

    Args:
        parts: the images of each.
        tile: pixels along a square image; one of another size is resized to it. None leaves images as they are.
    """

    def __init__(self, parts: Sequence[Images], tile: int | None = None):
        super().__init__(Names(chain.from_iterable(images.ids for images in parts)))
        self.parts, self.tile = tuple(parts), tile
        self._starts = np.cumsum([0, *map(len, parts[:-1])]).tolist()

    def _find(self, i: int) -> tuple[Images, int]:
        part = bisect_right(self._starts, i) - 1
        return self.parts[part], i - self._starts[part]

    def read(self, i: int) -> Tensor:
        """Return image i as its set gives it, uint8 `[3, H, W]`, or resized to `tile`."""
        images, row = self._find(i)
        image = images.read(row)
        height, width = image.shape[-2:]
        if self.tile in (None, height) or height != width:  # a tile that is not square is told by who needs one
            return image
        from torchvision.transforms.v2 import functional

        return functional.resize(image, [self.tile, self.tile], antialias=True)

    def whole(self, i: int) -> Tensor:
        """Return image i before the crop, uint8 `[3, H, W]`."""
        images, row = self._find(i)
        return images.whole(row)

    def path(self, i: int) -> Path | None:
        """Return the file of image i; None where it has none of its own."""
        images, row = self._find(i)
        return images.path(row)


def join_splits(splits: Sequence[Split]) -> Split:
    """Return the splits as one; a single one is returned itself.

    Places are numbered anew, so that no two sets share one. The joined split is centred if all of them are.

    Raises:
        ValueError: there is no split.
    """
    if not splits:
        raise ValueError("there is no split to join")
    if len(splits) == 1:
        return splits[0]
    parts = _with_distinct_places(splits)
    sizes = [(len(part.queries), len(part.references)) for part in parts]
    offsets = np.cumsum([(0, 0), *sizes[:-1]], axis=0)
    return JoinedSplit(
        name=" + ".join(part.name for part in parts),
        split=parts[0].split,
        queries=JoinedImages([part.queries for part in parts]),
        references=JoinedImages([part.references for part in parts]),
        pairs=np.concatenate([part.pairs + offset for part, offset in zip(parts, offsets)]),
        query_places=np.concatenate([part.query_places for part in parts]),
        reference_places=np.concatenate([part.reference_places for part in parts]),
        truth=_joined_truth([part.truth for part in parts], offsets[:, 1]),
        centred=all(part.centred for part in parts),
        notes=tuple(f"{part.name}: {note}" for part in parts for note in part.notes),
        total_pairs=sum(len(part.pairs) if part.total_pairs is None else part.total_pairs for part in parts),
        parts=parts,
        offsets=Offsets.joined([part.offsets for part in parts], sizes),
    )


def parts_of(split: Split) -> tuple[Split, ...]:
    """Return the sets of a joined split; any other is its own only one."""
    return split.parts if isinstance(split, JoinedSplit) else (split,)


def for_each_set(split: Split, change: Callable[[Split], Split]) -> Split:
    """Return the split with each of its sets changed."""
    return join_splits([change(part) for part in parts_of(split)])


def with_equal_tiles(split: Split) -> tuple[Split, int | None]:
    """Let the sets of a joined split give square references of one size, that of the set with the smallest ones.

    The polar transform samples tiles as stored, and a batch holds tiles of one size.

    Returns:
        The split, and the pixels along a tile where any is resized.
    """
    parts = parts_of(split)
    sizes = {part.references.read(0).shape[-1] for part in parts}
    if len(sizes) == 1:
        return split, None
    return replace(split, references=JoinedImages([part.references for part in parts], min(sizes))), min(sizes)


def _with_distinct_places(splits: Sequence[Split]) -> tuple[Split, ...]:
    """Return the splits with places numbered from 0 on, those of each set after those of the one before."""
    parts, first = [], 0
    for split in splits:
        places = np.concatenate([split.query_places, split.reference_places])
        names, numbers = np.unique(places, return_inverse=True)
        queries, references = np.split(numbers.reshape(-1) + first, [len(split.query_places)])
        parts.append(replace(split, query_places=queries, reference_places=references))
        first += len(names)
    return tuple(parts)


def _joined_truth(truths: Sequence[Truth], first_references: np.ndarray) -> Truth:
    """Return the truth of all queries against the galleries one after the other."""
    positives = _end_to_end([truth.positives for truth in truths], first_references)
    if all(truth.ignored is None for truth in truths):
        return Truth(positives)
    ignored = [Ragged.from_lists([[]] * len(t)) if t.ignored is None else t.ignored for t in truths]
    return Truth(positives, _end_to_end(ignored, first_references))


def _end_to_end(parts: Sequence[Ragged], offsets: np.ndarray) -> Ragged:
    """Return the rows of all parts, the values of each raised by its offset."""
    values = np.concatenate([part.values + offset for part, offset in zip(parts, offsets)])
    return Ragged.from_counts(values, np.concatenate([part.counts() for part in parts]))
