"""What every data set gives: a split of two roles, the pairs to train on, and the truth to test by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from ..evaluation.metrics import KS
from ..evaluation.truth import Truth
from ..utils.errors import NotSquareError, UserError
from ..utils.ragged import as_int64
from ..utils.roles import SPLITS
from .images import Images
from .offsets import Offsets
from .pair_data import PairData
from .registry import title_of


@dataclass(frozen=True, eq=False)
class Subset:
    """A part of a test split that gets numbers of its own: some queries, against the whole gallery or a part of it.

    Args:
        name: how results call it, such as "not_in_training".
        what: a sentence that says what a number on it means.
        queries: rows of the queries, int64, rising.
        references: rows of the references, int64, rising; None for the whole gallery.
        leak: what the other queries show and should not, a part of a sentence for the check of the data; empty where
            nothing is wrong with them.
    """

    name: str
    what: str
    queries: np.ndarray
    references: np.ndarray | None = None
    leak: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries", as_int64(self.queries))
        if self.references is not None:
            object.__setattr__(self, "references", as_int64(self.references))

    def check(self, num_queries: int, num_references: int) -> None:
        """Raise ValueError unless its rows rise and are rows of a split of that size."""
        for rows, count in ((self.queries, num_queries), (self.references, num_references)):
            if rows is not None and len(rows) and (rows[0] < 0 or rows[-1] >= count or (np.diff(rows) < 1).any()):
                raise ValueError(f"the subset {self.name!r} does not name rising rows below {count}")

    def keep(self, queries: np.ndarray, references: np.ndarray) -> Subset:
        """Return its part in a split that is cut to some queries, int64 `[n]`, and references, `[m]`; rows rise."""
        in_both = None if self.references is None else np.flatnonzero(np.isin(references, self.references))
        return replace(self, queries=np.flatnonzero(np.isin(queries, self.queries)), references=in_both)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """One split of a data set; no image has been opened.

    Args:
        name: the data set's name in `list_datasets()`.
        split: "train" or "test".
        queries: the ground images.
        references: the aerial images.
        pairs: training pairs, int64 `[P, 2]` of (query, reference).
        query_places: place label of every query, int64 `[N]`; a place that the data set repeats has one label.
        reference_places: place label of every reference, int64 `[M]`.
        truth: which references are right for which query.
        layout: which of the known folder layouts was read, and where.
        provenance: which lists the split comes from: original, cleaned, custom ...
        percent_rounding: how R@1% counts one percent here, "floor" or "floor_plus_one".
        centred: the camera stands at the centre of its aerial, so that polar transform and layout simulation hold.
        notes: what a reader of the results must know, a sentence each.
        subsets: parts of a test split that get numbers of their own.
        exclusion_radius: metres; a training reference of another place that is nearer than this is no negative.
        total_pairs: how many pairs the lists name, where the split may hold fewer because files are missing.
        ks: the K of the R@K that are reported on this data set.
        offsets: where in the references the queries stand, for sets that tell it.

    Raises:
        ValueError: the parts contradict each other.
    """

    name: str
    split: str
    queries: Images
    references: Images
    pairs: np.ndarray
    query_places: np.ndarray
    reference_places: np.ndarray
    truth: Truth
    layout: str = ""
    provenance: str = ""
    percent_rounding: str = "floor"
    centred: bool = True
    notes: tuple[str, ...] = ()
    subsets: tuple[Subset, ...] = ()
    exclusion_radius: float | None = None
    total_pairs: int | None = None
    ks: tuple[int, ...] = KS
    offsets: Offsets | None = None

    def __post_init__(self) -> None:
        for name in ("pairs", "query_places", "reference_places"):
            object.__setattr__(self, name, as_int64(getattr(self, name)))
        object.__setattr__(self, "pairs", self.pairs.reshape(-1, 2))
        self._check()

    def _check(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        num_queries, num_references = len(self.queries), len(self.references)
        if (len(self.query_places), len(self.reference_places)) != (num_queries, num_references):
            raise ValueError("every query and every reference needs one place label")
        if len(self.truth) != num_queries:
            raise ValueError(f"{num_queries} queries came with the truth of {len(self.truth)}")
        self.truth.check(num_references)
        if ((self.pairs < 0) | (self.pairs >= (num_queries, num_references))).any():
            raise ValueError("pairs name images that are not there")
        if (self.query_places[self.pairs[:, 0]] != self.reference_places[self.pairs[:, 1]]).any():
            raise ValueError("the two images of a pair must have the same place label")
        for subset in self.subsets:
            subset.check(num_queries, num_references)
        if len({subset.name for subset in self.subsets}) < len(self.subsets):
            raise ValueError("two subsets have the same name")
        if self.total_pairs is not None and self.total_pairs < len(self.pairs):
            raise ValueError(f"the lists cannot name {self.total_pairs} pairs when {len(self.pairs)} are there")
        if self.offsets is not None and len(self.offsets.metres) != num_references:
            raise ValueError(f"{num_references} references came with {len(self.offsets.metres)} sides in metres")

    def fingerprint(self) -> str:
        """Return twelve hexadecimal digits that change with ids, labels, pairs or truth, but not with the folder."""
        digest = hashlib.sha256()
        for images in (self.queries, self.references):
            digest.update("\n".join(images.ids).encode(errors="surrogateescape") + b"\n\n")
        truth = [self.truth.positives] if self.truth.ignored is None else [self.truth.positives, self.truth.ignored]
        arrays = [self.query_places, self.reference_places, self.pairs]
        arrays += [] if self.truth.groups is None else [self.truth.groups]
        for array in arrays + [half for part in truth for half in (part.values, part.offsets)]:
            digest.update(array.astype("<i8").tobytes() + b"\n\n")
        return digest.hexdigest()[:12]

    def limit(self, n: int) -> Split:
        """Return the first n pairs, their images, and the ignored references of their queries, without distractors.

        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"a data set cannot be limited to {n} pairs")
        if n >= len(self.pairs):
            return self
        pairs = self.pairs[:n]
        queries = np.unique(pairs[:, 0])
        truth = self.truth.take(queries)
        ignored = [] if truth.ignored is None else truth.ignored.values
        references = np.unique(np.concatenate([pairs[:, 1], as_int64(ignored)]))
        note = f"limited to the first {n:,} of {len(self.pairs):,} pairs"
        return replace(replace(self, pairs=pairs).keep(queries, references), notes=(*self.notes, note))

    def keep(self, queries: np.ndarray, references: np.ndarray) -> Split:
        """Return some queries and references, the pairs between them, and what is left of the subsets.

        Args:
            queries: rows, int64 `[n]`, rising.
            references: rows, int64 `[m]`, rising.
        """
        pairs = self.pairs[np.isin(self.pairs[:, 0], queries) & np.isin(self.pairs[:, 1], references)]
        subsets = [subset.keep(queries, references) for subset in self.subsets]
        return replace(
            self,
            queries=self.queries.take(queries),
            references=self.references.take(references),
            pairs=np.stack([np.searchsorted(queries, pairs[:, 0]), np.searchsorted(references, pairs[:, 1])], axis=1),
            query_places=self.query_places[queries],
            reference_places=self.reference_places[references],
            truth=self.truth.take(queries).keep_references(references, len(self.references)),
            subsets=tuple(subset for subset in subsets if len(subset.queries)),
            offsets=None if self.offsets is None else self.offsets.keep(queries, references),
        )

    def __repr__(self) -> str:
        count = f"{len(self.pairs):,} pairs"
        if self.split == "test":
            count = f"{len(self.queries):,} queries, {len(self.references):,} references"
        lists = f", {self.provenance} split" if self.provenance else ""
        return f"<{title_of(self.name)} {self.split}: {count}{lists}>"


class LoadTransform(Protocol):
    """What a loader's worker does to a stored image: the part of an `ImageTransform` that needs no device."""

    def on_load(self, image: Tensor) -> Tensor:
        """Turn an image as stored, uint8 `[3, H, W]`, into uint8 `[3, h, w]`."""


class PairDataset(Dataset):
    """Training pairs as PML's TwoStreamMetricLoss wants them.

    Item i is (query uint8 `[3, h, w]`, reference uint8 `[3, h, w]`, place label), and where more is asked for a fourth
    part, a dictionary.

    Args:
        split: whose pairs.
        query_transform: of the queries; None leaves images as stored.
        reference_transform: of the references.
        more: names of further data of a pair, of `pair_data.pair_data_of(split)`; see `utils.pair_data`.
    """

    def __init__(
        self,
        split: Split,
        query_transform: LoadTransform | None = None,
        reference_transform: LoadTransform | None = None,
        more: Sequence[str] = (),
    ):
        self.split = split
        self.query_transform, self.reference_transform = query_transform, reference_transform
        self.more = PairData(split, more, self._reference) if more else None

    @property
    def places(self) -> np.ndarray:
        """Place label of every item, int64 `[P]`, for samplers."""
        return self.split.query_places[self.split.pairs[:, 0]]

    def __len__(self) -> int:
        return len(self.split.pairs)

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        query, reference = self.split.pairs[i].tolist()
        image, place = _load(self.split.queries, query, self.query_transform), int(self.split.query_places[query])
        pair = image, self._reference(reference), place
        return pair if self.more is None else (*pair, self.more(query, reference))

    def _reference(self, row: int) -> Tensor:
        return _load(self.split.references, row, self.reference_transform)


class ImageDataset(Dataset):
    """Images of one role for inference and testing.

    Item i is (image uint8 `[3, h, w]`, label).

    Args:
        images: the images.
        transform: how they are loaded; None leaves them as stored.
        labels: one integer an image; its row number by default.
        headings: of panoramas, float `[N]`: the share of a full turn in [0, 1) by which each turns left, so that
            another direction comes to its centre; None leaves north there.

    Raises:
        ValueError: labels or headings are more or fewer than the images.
    """

    def __init__(
        self, images: Images, transform: LoadTransform | None = None, labels: Sequence[int] | None = None,
        headings: np.ndarray | None = None,
    ):  # fmt: skip
        for values, what in ((labels, "labels"), (headings, "headings")):
            if values is not None and len(values) != len(images):
                raise ValueError(f"{len(images)} images came with {len(values)} {what}")
        self.images, self.transform, self.headings = images, transform, headings
        self.labels = np.arange(len(images)) if labels is None else as_int64(labels)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = _load(self.images, i, self.transform)
        if self.headings is not None:
            image = image.roll(-int(self.headings[i] * image.shape[-1]), -1)
        return image, int(self.labels[i])


def _load(images: Images, i: int, transform: LoadTransform | None) -> Tensor:
    image = images.read(i)
    try:
        return image if transform is None else transform.on_load(image)
    except NotSquareError as error:
        raise UserError(f"{images.path(i) or images.ids[i]}: {error.message}", error.remedy) from None
