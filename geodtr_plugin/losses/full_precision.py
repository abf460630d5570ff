"""The base of our PML losses: float32 inside, cosine by default, distances in one direction."""

from __future__ import annotations

import torch
from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.losses import BaseMetricLossFunction
from torch import Tensor

from .cosine import FewKernelsCosine

SubLoss = dict[str, object]  # PML's {"losses": ..., "indices": ..., "reduction_type": ...}


class FullPrecisionLoss(BaseMetricLossFunction):
    """A PML loss that computes in float32 (float64 stays), also under autocast and on bfloat16 embeddings.

    Similarities s are turned into 2 - 2s, the squared Euclidean distance of unit vectors; distances are used as they
    are. So `CosineSimilarity()`, as the default is one, and `LpDistance(power=2)` mean the same.

    Args:
        **kwargs: PML's: `reducer` (default MeanReducer), `distance`, `embedding_regularizer`, ...
    """

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor | None = None,
        indices_tuple: tuple[Tensor, ...] | None = None,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
    ) -> Tensor:
        """Return the reduced loss, a scalar, of embeddings `[N, D]` and ref_emb `[M, D]`; see the subclasses."""
        with torch.autocast(embeddings.device.type, enabled=False):
            if ref_emb is embeddings:
                ref_emb = None  # PML's own notion of a single set
            full_ref = None if ref_emb is None else _at_least_float32(ref_emb)
            return super().forward(_at_least_float32(embeddings), labels, indices_tuple, full_ref, ref_labels)

    def get_default_distance(self) -> BaseDistance:
        """Return cosine similarity."""
        return FewKernelsCosine()

    def excess(self, one: Tensor, other: Tensor | float) -> Tensor:
        """Return how much farther `one` is than `other`, in distances, for values of `self.distance` of any shape."""
        return self.scale * self.distance.margin(one, other)

    def as_distances(self, values: Tensor) -> Tensor:
        """Turn values of `self.distance`, of any shape, into distances: of cosine similarities squared ones."""
        return self.excess(values, torch.ones_like(values)) if self.distance.is_inverted else values

    @property
    def scale(self) -> float:
        """Distance by which a difference of 1 between values of `self.distance` counts."""
        return 2.0 if self.distance.is_inverted else 1.0

    @staticmethod
    def zero(*embeddings: Tensor) -> SubLoss:
        """Return a loss of 0 that gives all embeddings a gradient of 0, so that DDP finds nothing unused."""
        zero = sum((x * 0).sum() for x in embeddings)
        return {"losses": zero, "indices": None, "reduction_type": "already_reduced"}


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
