"""Losses over tuples (a query, one positive, its negatives), and NetVLAD's hinge."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pytorch_metric_learning.reducers import AvgNonZeroReducer, BaseReducer
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from . import register_loss
from .full_precision import FullPrecisionLoss, SubLoss
from .pairs import Exclusion, labelled_pairs


class TupleLoss(FullPrecisionLoss):
    """A loss over tuples, from query to reference alone, on squared distances d = 2 - 2 cos.

    Called as `loss(query, labels, ref_emb=reference, ref_labels=labels)`: every (query, positive) is a tuple with all
    references of other places; with `indices_tuple` (PML triplets or pairs, for instance of a tuple sampler) the
    tuples are exactly those. Tuples without a negative do not count; no tuple at all gives 0, attached to the graph.
    Labels may be left out where row i of one belongs to row i of the other.

    Args:
        exclusion: function of labels `[N]` and ref_labels `[M]` to bool `[N, M]`: pairs that are no negatives although
            their labels differ, for instance `NearbyPlaces`.
        **kwargs: see `FullPrecisionLoss`.
    """

    def __init__(self, exclusion: Exclusion | None = None, **kwargs):
        super().__init__(**kwargs)
        self.exclusion = exclusion

    @abstractmethod
    def terms(self, positive: Tensor, references: Tensor, negatives: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss terms `[L]` and the query row of each `[L]`.

        Args:
            positive: squared distances to the positives `[T, 1]`.
            references: squared distances to all references `[T, M]`.
            negatives: which of these count, bool `[T, M]`; at least one in each row.
            rows: the tuples' query rows `[T]`.
        """

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: tuple[Tensor, ...] | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> dict[str, SubLoss]:
        """Return the terms of embeddings `[N, D]`, labels `[N]`, ref_emb `[M, D]`, ref_labels `[M]`."""
        if indices_tuple is None:
            same, negatives = labelled_pairs(embeddings, labels, ref_emb, ref_labels, self.exclusion)
            rows, positives = same.nonzero(as_tuple=True)
            negatives = negatives[rows]
        else:
            triplets = lmu.convert_to_triplets(indices_tuple, labels, ref_labels)
            rows, positives, negatives = _tuples(triplets, len(ref_emb), embeddings.device)
        full = negatives.any(1)
        rows, positives, negatives = rows[full], positives[full], negatives[full]
        if len(rows) == 0:
            return {"loss": self.zero(embeddings, ref_emb)}
        squared = self.as_distances(self.distance(embeddings, ref_emb))
        losses, owners = self.terms(squared[rows, positives][:, None], squared[rows], negatives, rows)
        return {"loss": {"losses": losses, "indices": owners, "reduction_type": "element"}}


@register_loss("hinge")
class TupleHingeLoss(TupleLoss):
    """The hinge max(0, margin + d_pos - d_neg) on squared distances, NetVLAD's loss.

    The sum over a query's negatives (Arandjelovic et al., CVPR 2016, equation 7), divided by the number of its terms
    in the batch that are above 0, as the released code divides its gradient: PML's AvgNonZeroReducer, the default
    here. Pass `reducer=SumReducer()` for the sum itself. The PyTorch ports use the distance without the square and a
    margin of sqrt(0.1), which gives other gradients.

    Args:
        margin: by how much a negative shall be farther than the positive, in squared distances.
        **kwargs: see `TupleLoss`.

    Raises:
        ValueError: `margin` is below 0.
    """

    def __init__(self, margin: float = 0.1, **kwargs):
        if not margin >= 0:
            raise ValueError(f"margin must be 0 or more, not {margin}")
        super().__init__(**kwargs)
        self.margin = margin
        self.add_to_recordable_attributes(list_of_names=["margin"], is_stat=False)

    def terms(self, positive: Tensor, references: Tensor, negatives: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return one term a (query, positive, negative), `[L]`, and the query row of each."""
        owners = rows[:, None].expand_as(negatives)[negatives]
        return torch.relu(self.margin + positive - references)[negatives], owners

    def get_default_reducer(self) -> BaseReducer:
        """Return the mean over violated terms."""
        return AvgNonZeroReducer()


def _tuples(triplets: tuple[Tensor, ...], references: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return query rows `[T]`, positives `[T]` and negatives, bool `[T, references]`, of triplets of rows.

    Those of one query and positive are a tuple.
    """
    queries, positives, negatives = (rows.long().to(device) for rows in triplets)
    heads, tuple_of = torch.stack([queries, positives], dim=1).unique(dim=0, return_inverse=True)
    mask = torch.zeros(len(heads), references, dtype=torch.bool, device=device)
    mask[tuple_of, negatives] = True
    return heads[:, 0], heads[:, 1], mask
