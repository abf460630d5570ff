"""The counterfactual loss of GeoDTR and GeoDTR+."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pytorch_metric_learning.utils import common_functions as c_f
from torch import Tensor

from .full_precision import FullPrecisionLoss, SubLoss


class CounterfactualLoss(FullPrecisionLoss):
    """The mean of log(1 + exp(-beta d)), d = 2 - 2 cos, which pushes embeddings away from their counterfactuals.

    Called as `loss(embeddings, ref_emb=counterfactual_embeddings)`, row i of one belonging to row i of the other, once
    a role. Labels are ignored. The rows are one sub-loss "loss", reduced as
    elements.

    Args:
        beta: weight of the distance inside the exponential.
        **kwargs: see `FullPrecisionLoss`.

    Raises:
        ValueError: `beta` is not above 0.

    Source: Zhang et al., TPAMI 2024, counterfactual learning.
    """

    def __init__(self, beta: float = 5.0, **kwargs):
        if not beta > 0:
            raise ValueError(f"beta must be above 0, not {beta}")
        super().__init__(**kwargs)
        self.beta = beta
        self.add_to_recordable_attributes(list_of_names=["beta"], is_stat=False)

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: tuple[Tensor, ...] | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> dict[str, SubLoss]:
        """Return the N losses of embeddings and ref_emb, `[N, D]` each; called by PML.

        Raises:
            ValueError: there are no counterfactual embeddings, or not one a row.
        """
        c_f.indices_tuple_not_supported(indices_tuple)
        if ref_emb is embeddings:
            raise ValueError("CounterfactualLoss needs the counterfactual embeddings as ref_emb")
        if ref_emb.shape != embeddings.shape:
            raise ValueError(
                f"embeddings {list(embeddings.shape)} and counterfactuals {list(ref_emb.shape)} must have aligned rows"
            )
        if len(embeddings) == 0:
            return {"loss": self.zero(embeddings, ref_emb)}
        one, other = (self.distance.maybe_normalize(rows) for rows in (embeddings, ref_emb))
        values = self.distance.pairwise_distance(one, other)
        distances = self.as_distances(values if self.distance.power == 1 else values**self.distance.power)
        losses = F.softplus(-self.beta * distances)
        rows = torch.arange(len(losses), device=losses.device)
        return {"loss": {"losses": losses, "indices": rows, "reduction_type": "element"}}
