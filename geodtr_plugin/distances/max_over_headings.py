"""The most similar of several turned copies: an unknown heading, found by trying."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..evaluation.similarity import Vectors
from .base import HeadingDistance, wrapped
from .heading_scores import HeadingScores


class MaxOverHeadings(HeadingDistance):
    """The cosine similarity of two images at the best of several headings that are tried.

    One image of a pair comes as H embeddings side by side, of copies turned to H headings 360 / H degrees apart; the
    other as one. Copy k stands for the heading k * 360 / H of the query: where its middle looks, clockwise from north.
    It is the query turned back by that, or the reference turned so that this direction takes north's place.

    Similarities are computed heading by heading, so that without gradients memory holds two matrices of them.

    Args:
        count: the number H of headings.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, count: int, **kwargs):
        super().__init__(**kwargs)
        if count < 1:
            raise ValueError(f"an image has one heading at least, not {count}")
        self.count = count

    def similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines of all pairs at their best headings, `[n, m]`.

        Args:
            query: `[n, H * D]`, or `[n, D]` where the references are turned.
            reference: `[m, D]`, or `[m, H * D]`.

        Raises:
            ValueError: neither is H times as long as the other.
        """
        best: Tensor | None = None
        for one, other in self._copies(query, reference):
            cosines = one @ other.T
            best = cosines if best is None else torch.maximum(best, cosines)
        assert best is not None
        return best

    def pair_similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines `[n]` at the best headings of pairs, by row; shapes and errors as for `similarities`."""
        return self._of_pairs(query, reference).amax(dim=1)

    @torch.no_grad()
    def headings(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the best heading of the query of each pair, in degrees in [-180, 180), `[n]`.

        Of headings that are equally good, the first clockwise from north. Shapes and errors are as for `similarities`.
        """
        return wrapped(self._of_pairs(query, reference).argmax(dim=1) * (360 / self.count))

    def scores(self, query: Vectors, reference: Vectors) -> HeadingScores:
        """Return the exact similarities of queries `[N, Dq]` and references `[M, Dr]`, for ranking."""
        return HeadingScores(self.count, query, reference)

    def _of_pairs(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines of pairs at every heading, `[n, H]`."""
        return torch.stack([(one * other).sum(dim=1) for one, other in self._copies(query, reference)], dim=1)

    def _copies(self, query: Tensor, reference: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what is to be compared at each heading: unit vectors `[n, D]` and `[m, D]`, float32 at least."""
        sizes = query.shape[1], reference.shape[1]
        if max(sizes) != self.count * min(sizes):
            raise ValueError(f"of embeddings of {sizes[0]} and {sizes[1]} numbers, none is {self.count} of the other")
        turned = sizes[0] == max(sizes)  # the query is
        copies, single = (query, reference) if turned else (reference, query)
        single = _units(single)
        for copy in map(_units, copies.split(min(sizes), dim=1)):
            yield (copy, single) if turned else (single, copy)


def _units(vectors: Tensor) -> Tensor:
    return normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=1)
