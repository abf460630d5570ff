"""What all distances over headings share: the similarity at the best heading, and that heading as a result."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor

from ..evaluation.scores import Scores
from ..evaluation.similarity import Vectors


class HeadingDistance(BaseDistance):
    """The distance d = 2 - 2 s of the similarity s at the heading at which query and reference fit best.

    s is a cosine, so that d is the squared Euclidean distance of unit vectors, as in the losses' default. Queries
    `[n, Dq]` and references `[m, Dr]` may have any norms, and different sizes. Computed in float32 at least, also under
    autocast. Gradients flow through the similarity at the best heading, not through the choice of it.

    A subclass gives `similarities`, `pair_similarities`, `headings` and `scores`.
    """

    def __init__(self, **kwargs):
        super().__init__(normalize_embeddings=False, **kwargs)

    @abstractmethod
    def similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosine at the best heading of every query `[n, Dq]` and reference `[m, Dr]`, `[n, m]`."""

    @abstractmethod
    def pair_similarities(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return the cosines `[n]` at the best headings of pairs: query `[n, Dq]` and reference `[n, Dr]` by row."""

    @abstractmethod
    def headings(self, query: Tensor, reference: Tensor) -> Tensor:
        """Return where the middle of each query looks, against the middle of the reference of the same row.

        Args:
            query: `[n, Dq]`.
            reference: `[n, Dr]`; the middle of a polar map looks north.

        Returns:
            Degrees `[n]` in [-180, 180): 0 as the reference, positive clockwise, so that 90 looks east in a polar map.
        """

    @abstractmethod
    def scores(self, query: Vectors, reference: Vectors) -> Scores:
        """Return the exact similarities of queries `[N, Dq]` and references `[M, Dr]`, for `evaluation.rank_queries`.

        Raises:
            ValueError: embeddings are not of the size that this distance compares.
        """

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Return all distances `[n, m]` of queries `[n, Dq]` and references `[m, Dr]`; called by PML."""
        with torch.autocast(query_emb.device.type, enabled=False):
            return 2 - 2 * self.similarities(query_emb, ref_emb)

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Return the distances `[n]` of pairs, query `[n, Dq]` and reference `[n, Dr]` by row; called by PML."""
        with torch.autocast(query_emb.device.type, enabled=False):
            return 2 - 2 * self.pair_similarities(query_emb, ref_emb)


def wrapped(degrees: Tensor) -> Tensor:
    """Return angles in degrees, of any shape, in [-180, 180)."""
    return (degrees + 180) % 360 - 180
