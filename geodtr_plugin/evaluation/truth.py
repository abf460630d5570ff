"""What counts as right: for every query, the references that show its place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..utils.ragged import Ragged, as_int64, group

__all__ = ["Ragged", "Truth"]


@dataclass(frozen=True, eq=False)
class Truth:
    """The references that are right for each query, and those that are neither right nor wrong.

    Args:
        positives: per query, indices into the gallery. A query without any can never be answered.
        ignored: per query, indices into the gallery that the hit rate leaves out (VIGOR's semi-positives).
        groups: per reference, an integer `[M]`: references of one group (the views cut from one panorama) stand in a
            ranking once, at the place of the most similar of them, which also decides whether the group is right. In
            Tokyo 24/7 this is called spatial non-maximum suppression. None: every reference stands for itself.
    """

    positives: Ragged
    ignored: Ragged | None = None
    groups: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.groups is not None:
            object.__setattr__(self, "groups", as_int64(self.groups))
            if self.ignored is not None:
                raise ValueError("a truth has ignored or groups of references, not both")
        if self.ignored is not None and len(self.ignored) != len(self.positives):
            raise ValueError(f"{len(self.positives)} queries have positives, {len(self.ignored)} have ignored")

    @classmethod
    def diagonal(cls, n: int) -> Truth:
        """Let query i be shown by reference i alone, as on CVUSA and CVACT val without repeated places."""
        return cls(Ragged(np.arange(n), np.arange(n + 1)))

    @classmethod
    def from_lists(cls, positives: Iterable[Sequence[int]], ignored: Iterable[Sequence[int]] | None = None) -> Truth:
        """Build a truth from one sequence of gallery indices for each query."""
        return cls(Ragged.from_lists(positives), None if ignored is None else Ragged.from_lists(ignored))

    @classmethod
    def from_labels(cls, query_labels: Sequence[int], reference_labels: Sequence[int]) -> Truth:
        """Let every reference that carries a query's label be right.

        Args:
            query_labels: integers `[N]` or `[N, 1 + S]`: the positive label, then semi-positive labels, which become
                ignored. -1 stands for none.
            reference_labels: integers `[M]`; -1 is a reference that shows no query's place.

        Raises:
            ValueError: the labels have other shapes.
        """
        queries, references = as_int64(query_labels), as_int64(reference_labels)
        if queries.ndim not in (1, 2) or references.ndim != 1:
            raise ValueError(
                "query labels must be [N] or [N, 1 + S] and reference labels [M], "
                f"not {list(queries.shape)} and {list(references.shape)}"
            )
        queries = queries.reshape(len(queries), -1) if queries.size else queries.reshape(len(queries), 1)
        positives = _matches(queries[:, :1], references)
        if queries.shape[1] == 1:
            return cls(positives)
        return cls(positives, _matches(queries[:, 1:], references, but=queries[:, 0]))

    def __len__(self) -> int:
        return len(self.positives)

    def take(self, rows: Sequence[int] | np.ndarray | slice) -> Truth:
        """Return the truth of some queries (indices `[n]`, a mask `[N]` or a slice) against the same gallery."""
        ignored = None if self.ignored is None else self.ignored.take(rows)
        return Truth(self.positives.take(rows), ignored, self.groups)

    def keep_references(self, references: Sequence[int], num_references: int) -> Truth:
        """Return the truth of the same queries against some references alone (distinct gallery indices `[m]`)."""
        new_numbers = np.full(num_references, -1, np.int64)
        new_numbers[as_int64(references)] = np.arange(len(references))
        ignored = None if self.ignored is None else self.ignored.renumbered(new_numbers)
        groups = None if self.groups is None else self.groups[as_int64(references)]
        return Truth(self.positives.renumbered(new_numbers), ignored, groups)

    def check(self, num_references: int) -> None:
        """Check that all indices are in the gallery and that no query names a reference twice.

        Raises:
            ValueError: an index is outside of the gallery, or a query names a reference twice.
        """
        if self.groups is not None and self.groups.shape != (num_references,):
            raise ValueError(f"groups must be [{num_references}], one a reference, not {list(self.groups.shape)}")
        both = [part for part in (self.positives, self.ignored) if part is not None]
        rows = np.concatenate([part.rows() for part in both])
        values = np.concatenate([part.values for part in both])
        outside = (values < 0) | (values >= num_references)
        if outside.any():
            at = int(np.argmax(outside))
            raise ValueError(
                f"the truth of query {rows[at]} names reference {values[at]}, but there are {num_references} references"
            )
        pairs, counts = np.unique(np.stack([rows, values]), axis=1, return_counts=True)
        if (counts > 1).any():
            row, value = pairs[:, np.argmax(counts > 1)]
            raise ValueError(f"the truth of query {row} names reference {value} twice, positives and ignored together")


def _matches(labels: np.ndarray, references: np.ndarray, but: np.ndarray | None = None) -> Ragged:
    """Return, for each row of `labels` `[N, S]`, the references that carry one; -1 and the label in `but` do not count.

    A label that a row repeats counts once.
    """
    labels = np.sort(labels, axis=1)
    unwanted = labels < 0
    unwanted[:, 1:] |= labels[:, 1:] == labels[:, :-1]
    if but is not None:
        unwanted |= labels == but[:, None]
    found = group(references, labels.ravel())
    counts = found.counts().reshape(labels.shape)
    kept = np.repeat(~unwanted.ravel(), found.counts())
    return Ragged.from_counts(found.values[kept], np.where(unwanted, 0, counts).sum(axis=1))
