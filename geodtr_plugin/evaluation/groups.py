"""Ranks of groups of references: views cut from one panorama, of which a ranking shows the most similar alone.

A group stands in the ranking once, at the place of the most similar of its references, which also decides whether the
group is right. In Tokyo 24/7 this is called spatial non-maximum suppression (Torii et al., CVPR 2015).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from .scores import Scores

Pairs = tuple[Tensor, Tensor]  # query and reference of each, int64 [T] both


class Groups:
    """The groups of a gallery.

    Args:
        labels: group of every reference, int64 `[M]`.
        device: where to count.
    """

    def __init__(self, labels: np.ndarray, device: torch.device):
        names, numbers = np.unique(labels, return_inverse=True)
        self.count = len(names)
        self.numbers = torch.from_numpy(numbers.reshape(-1)).to(device)

    def shown(
        self, scores: Scores, positives: Pairs, left_out: Pairs, similarities: Tensor, margin: float
    ) -> Tensor:
        """Tell which positives `[T]` the ranking shows: those that no wrong reference of their own group beats.

        Args:
            scores: of all queries and references.
            positives: the right references of the queries.
            left_out: pairs that do not compete, positives among them.
            similarities: of the positives, float64 `[T]`.
            margin: a wrong reference beats a positive if it is at least as similar as that plus this.

        Returns:
            bool `[T]`.
        """
        asked, place = self._keys(positives).unique(return_inverse=True)
        rows, columns = self._members(asked)
        references = len(self.numbers)
        wrong = ~torch.isin(rows * references + columns, left_out[0] * references + left_out[1])
        rows, columns = rows[wrong], columns[wrong]
        best = torch.full((len(asked),), -torch.inf, dtype=torch.float64, device=similarities.device)
        at = torch.searchsorted(asked, self._keys((rows, columns)))
        best.scatter_reduce_(0, at, scores.pairs(rows, columns), reduce="amax")
        return best[place] < similarities + margin

    def counted(self, queries: int, tiles: Iterable[tuple[slice, Tensor]]) -> Tensor:
        """Return how many groups have a reference that reaches a query's threshold, int64 `[queries]`.

        Args:
            queries: their number.
            tiles: columns, and which of them reach the thresholds, float32 `[queries, columns]` of 0 and 1.
        """
        hits = torch.zeros(queries, self.count, device=self.numbers.device)
        for columns, reached in tiles:
            hits.index_add_(1, self.numbers[columns], reached)
        return (hits > 0).sum(dim=1)

    def _keys(self, pairs: Pairs) -> Tensor:
        """Return one number for each (query, group of the reference), int64 `[T]`."""
        return pairs[0] * self.count + self.numbers[pairs[1]]

    def _members(self, keys: Tensor) -> Pairs:
        """Return every (query, reference) whose (query, group) is one of the keys."""
        order = self.numbers.argsort(stable=True)
        sizes = torch.bincount(self.numbers, minlength=self.count)
        starts = sizes.cumsum(0) - sizes
        group = keys % self.count
        counts = sizes[group]
        rows = (keys // self.count).repeat_interleave(counts)
        within = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts).repeat_interleave(counts)
        return rows, order[starts[group].repeat_interleave(counts) + within]
