"""The hard exemplar reweighting triplet loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from . import register_loss
from .full_precision import FullPrecisionLoss, SubLoss
from .pairs import Exclusion, labelled_pairs


@register_loss("her")
class HERLoss(FullPrecisionLoss):
    """The soft-margin triplet loss whose triplets weigh the more, the harder they are.

    With z = alpha (d_pos - d_neg), d = 2 - 2 cos, and the margin m = alpha * margin, a triplet weighs
    w = log2(1 + exp(z + m / 2)): -log2 of the probability that a logistic regression, rectified by m / 2, gives to its
    being right. Exemplars that are simple, z < -m, weigh `simple` / M instead; those that are extremely hard, z > 0,
    weigh what z = 0 does. For unit vectors w lies between 0.206 and 2.911. The loss is theta times the mean of
    w log(1 + exp(z)) over the N x M matrix, in which what is no negative counts as 0.

    Called as `loss(query, labels, ref_emb=reference, ref_labels=labels)`. References with a query's label are its
    positives, all others its negatives; every positive pair is compared with all M references.

    * labels None: row i of one belongs to row i of the other. ref_labels None: as labels.
    * no ref_emb: all pairs within `embeddings`, no row with itself.
    * `exclusion`: pairs that it names are no negatives.
    * `indices_tuple` (PML triplets or pairs, for instance of a miner): the mean over these triplets.
    * no positive: 0, attached to the graph.

    Args:
        alpha: weight of the distances inside the exponential. The authors stretch unit vectors to a length of 5, which
            is 25; they take 1 for vectors that are not normalised.
        margin: in parts of the mean squared length of the embeddings, which is 1 for cosine similarity.
        simple: weight of simple exemplars, to be divided by the number M of references.
        theta: weight of the loss; the authors have 1, and 5 from the 51st of 100 epochs on.
        symmetric: average both directions; the authors go from query to reference alone.
        detach: weights are numbers, as the paper has them. The authors' code lets gradients flow through those that are
            neither simple nor extremely hard.
        exclusion: function of labels `[N]` and ref_labels `[M]` to bool `[N, M]`, for instance `NearbyPlaces`.
        **kwargs: see `FullPrecisionLoss`.

    Raises:
        ValueError: `alpha` or `theta` is not above 0, or `margin` or `simple` below 0.

    Source: Cai et al., ICCV 2019; constants from the released code.
    """

    def __init__(
        self, alpha: float = 25.0, margin: float = 0.15, simple: float = 0.1, theta: float = 1.0,
        symmetric: bool = True, detach: bool = True, exclusion: Exclusion | None = None, **kwargs,
    ):  # fmt: skip
        for name, value in (("alpha", alpha), ("theta", theta)):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        for name, value in (("margin", margin), ("simple", simple)):
            if not value >= 0:
                raise ValueError(f"{name} must be at least 0, not {value}")
        super().__init__(**kwargs)
        self.alpha, self.margin, self.simple, self.theta = alpha, margin, simple, theta
        self.symmetric, self.detach, self.exclusion = symmetric, detach, exclusion
        self.add_to_recordable_attributes(list_of_names=["alpha", "margin", "simple", "theta"], is_stat=False)

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: tuple[Tensor, ...] | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> dict[str, SubLoss]:
        """Return the losses of embeddings `[N, D]`, labels `[N]`, ref_emb `[M, D]`, ref_labels `[M]`."""
        matrix, margin = self.distance(embeddings, ref_emb), self.margin_of(embeddings, ref_emb)
        if indices_tuple is not None:
            a, p, n = (rows.long() for rows in lmu.convert_to_triplets(indices_tuple, labels, ref_labels))
            z = self.alpha * self.excess(matrix[a, p], matrix[a, n])
            losses, rows = self.weights(z, margin, len(ref_emb)) * F.softplus(z), a
        else:
            positives, negatives = labelled_pairs(embeddings, labels, ref_emb, ref_labels, self.exclusion)
            losses, rows, _ = self._direction(matrix, positives, negatives, margin)
            if self.symmetric and ref_emb is not embeddings:
                back, _, queries = self._direction(matrix.T, positives.T, negatives.T, margin)
                losses, rows = torch.cat([losses, back]), torch.cat([rows, queries])
        if not len(losses):
            return {"loss": self.zero(embeddings, ref_emb)}
        return {"loss": {"losses": self.theta * losses, "indices": rows, "reduction_type": "element"}}

    def margin_of(self, embeddings: Tensor, ref_emb: Tensor) -> Tensor:
        """Return alpha * margin times the mean squared length of embeddings `[N, D]` and `[M, D]`, without gradient."""
        lengths = [self.distance.maybe_normalize(x.detach()).square().sum(1).mean() for x in (embeddings, ref_emb)]
        return self.alpha * self.margin * (lengths[0] + lengths[1]) / 2

    def weights(self, z: Tensor, margin: Tensor | float, choices: int) -> Tensor:
        """Return the weights of triplets, of the shape of z = alpha (d_pos - d_neg); `choices` is M."""
        z = z.detach() if self.detach else z
        rectified = F.softplus(z.clamp(max=0) + margin / 2) / math.log(2)
        return rectified.where(z >= -margin, self.simple / choices)

    def _direction(self, matrix: Tensor, positives: Tensor, negatives: Tensor, margin: Tensor) -> tuple[Tensor, ...]:
        """Return the mean term, the row and the column of each positive pair of a matrix `[N, M]`."""
        rows, columns = positives.nonzero(as_tuple=True)
        z = self.alpha * self.excess(matrix[rows, columns][:, None], matrix[rows])
        terms = self.weights(z, margin, matrix.shape[1]) * F.softplus(z)
        return terms.where(negatives[rows], 0).mean(1), rows, columns
