"""What ranking asks of a similarity, cosine or any other: pairs exactly, and tiles fast within bounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from .similarity import Vectors, pair_similarities
from .tiles import QueryBlock

SEVERAL = 1 / 64  # share of a tile that may be looked at again pair by pair; beyond, all of it is in float64
OUT_OF_REACH = 4.0  # a threshold above every similarity


class Block(Protocol):
    """Some queries, compared with tile after tile of the references."""

    def reached(self, columns: slice) -> Tensor:
        """Tell which competing references of a tile reach the queries' thresholds, float32 `[n, columns]`, 0 or 1."""


class Scores(Protocol):
    """The similarities of queries and references that are ranked."""

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the float64 similarities `[T]` of query `rows[t]` and reference `columns[t]`, int64 `[T]` each."""

    def block(self, rows: slice, threshold: Tensor, left_out: tuple[Tensor, Tensor]) -> Block:
        """Return some queries for comparison: their rows, all thresholds float64 `[N]`, pairs that do not compete."""


class CosineScores:
    """Cosines of vectors.

    Args:
        query, reference: all of them, of one space.

    Raises:
        ValueError: they are not of one space.
    """

    def __init__(self, query: Vectors, reference: Vectors):
        if query.size != reference.size:
            raise ValueError(f"queries have {query.size} entries and references {reference.size}: not one space")
        self.query, self.reference = query, reference

    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return float64 `[T]`, see `Scores`."""
        return pair_similarities(self.query, rows, self.reference, columns)

    def block(self, rows: slice, threshold: Tensor, left_out: tuple[Tensor, Tensor]) -> Block:
        """Return the queries `rows`, see `Scores`."""
        return QueryBlock(self.query, rows, self.reference, threshold, left_out)


class BoundedScores(ABC):
    """Similarities of any kind, which a subclass computes pair by pair exactly, and tile by tile within bounds."""

    @abstractmethod
    def pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return float64 `[T]`, see `Scores`."""

    @abstractmethod
    def bounds(self, rows: slice, columns: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return numbers that no similarity of a tile is below, and that none is above, two `[n, m]`.

        Args:
            rows, columns: which queries and references.
            dtype: float32; or float64, whose bounds are equal, as its errors are far below what counts as a tie.
        """

    def block(self, rows: slice, threshold: Tensor, left_out: tuple[Tensor, Tensor]) -> Block:
        """Return the queries `rows`, see `Scores`."""
        return BoundedBlock(self, rows, threshold, left_out)


class BoundedBlock:
    """Some queries whose similarities come with bounds; what these leave open is looked at again in float64.

    Args:
        scores: of all queries and references.
        rows: the queries of the block, n of them.
        threshold: of every query, float64 `[N]`.
        left_out: pairs that do not compete: query (counted from the block's first) and reference, int64 `[T]`.
    """

    def __init__(self, scores: BoundedScores, rows: slice, threshold: Tensor, left_out: tuple[Tensor, Tensor]):
        self.scores, self.rows, self.left_out = scores, rows, left_out
        self.threshold = threshold[rows, None].clamp(max=OUT_OF_REACH)
        self.dtype = torch.float32

    def reached(self, columns: slice) -> Tensor:
        """Tell which competing references of a tile reach the thresholds, float32 `[n, columns]` of 0 and 1."""
        rows, references = self.left_out
        here = (references >= columns.start) & (references < columns.stop)
        left_out = rows[here], references[here] - columns.start
        low, high = self.scores.bounds(self.rows, columns, self.dtype)
        reached = (low >= self.threshold).float()
        if self.dtype != torch.float64:
            doubtful = (high >= self.threshold) & (low < self.threshold)
            doubtful[left_out] = False
            reached = self._decided(reached, doubtful, columns)
        reached[left_out] = 0
        return reached

    def _decided(self, reached: Tensor, doubtful: Tensor, columns: slice) -> Tensor:
        """Return `reached` with what is doubtful looked at again."""
        rows, places = doubtful.nonzero(as_tuple=True)
        if len(rows) > SEVERAL * doubtful.numel():
            self.dtype = torch.float64  # later tiles will be alike
            return (self.scores.bounds(self.rows, columns, torch.float64)[0] >= self.threshold).float()
        exact = self.scores.pairs(self.rows.start + rows, columns.start + places)
        reached[rows, places] = (exact >= self.threshold[rows, 0]).float()
        return reached
