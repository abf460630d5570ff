"""The weighted soft-margin triplet loss, dense and in both directions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pytorch_metric_learning.reducers import MeanReducer, MultipleReducers
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

from . import register_loss
from .full_precision import FullPrecisionLoss, SubLoss
from .pairs import Exclusion, labelled_pairs, paired_rows
from .soft_margin_mean import soft_margin_mean

Terms = tuple[Tensor, Tensor]  # loss terms and the query row of each


@register_loss("soft_margin")
class SoftMarginTripletLoss(FullPrecisionLoss):
    """The mean of log(1 + exp(alpha (d_pos - d_neg))), d = 2 - 2 cos, over all triplets of both directions.

    Called as `loss(query, labels, ref_emb=reference, ref_labels=labels)`. References with a query's label are its
    positives, all others its negatives; every (positive, negative) combination of a query is one term, and likewise
    with the roles exchanged. The loss is the average of the two directions' means: with one positive each, the
    formula of SAFA, GeoDTR and GeoDTR+, 1 / (N (N - 1)) times the sum over i != j, both ways.

    * labels None: row i of one belongs to row i of the other. ref_labels None: as labels, if the sizes agree. Unlike
      PML's own losses, this one takes the same tensor as labels and ref_labels.
    * no ref_emb: all pairs within `embeddings`, no row with itself; both directions are then the same.
    * `exclusion`: pairs that it names are neither positive nor negative; the means are over the terms that remain.
    * `indices_tuple` (PML triplets or pairs, for instance of a miner): exactly these triplets, one direction.
    * no triplet at all: 0, attached to the graph.

    The terms are one sub-loss "loss", reduced as elements whose indices are query rows; where a MeanReducer would not
    see them, because all rows have one positive, they are summed up without being listed. Asymmetric distances are
    read from query to reference in both directions.

    Args:
        alpha: weight of the distances inside the exponential.
        hard_ratio: share of terms that count, the largest ones of the whole matrix in each direction (at least one).
        exclusion: function of labels `[N]` and ref_labels `[M]` to bool `[N, M]`: pairs that are no negatives although
            their labels differ, for instance `NearbyPlaces`.
        paired_rows: a promise that a row's label is that of the same row of ref_emb, and of no other row. The labels of
            batches of as many references as queries are then not looked at, which on a GPU would make the host wait.
        **kwargs: see `FullPrecisionLoss`.

    Raises:
        ValueError: `alpha` is not above 0, or `hard_ratio` not in (0, 1].

    Source: Hu et al., CVPR 2018 (CVM-Net), equation 4; Zhang et al., TPAMI 2024.
    """

    def __init__(
        self,
        alpha: float = 10.0,
        hard_ratio: float = 1.0,
        exclusion: Exclusion | None = None,
        paired_rows: bool = False,
        **kwargs,
    ):
        if not alpha > 0:
            raise ValueError(f"alpha must be above 0, not {alpha}")
        if not 0 < hard_ratio <= 1:
            raise ValueError(f"hard_ratio must be above 0 and at most 1, not {hard_ratio}")
        super().__init__(**kwargs)
        self.alpha, self.hard_ratio, self.exclusion = alpha, hard_ratio, exclusion
        self.paired_rows = paired_rows
        self.add_to_recordable_attributes(list_of_names=["alpha", "hard_ratio"], is_stat=False)

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: tuple[Tensor, ...] | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> dict[str, SubLoss]:
        """Return the terms of embeddings `[N, D]`, labels `[N]`, ref_emb `[M, D]`, ref_labels `[M]`."""
        matrix = self.distance(embeddings, ref_emb)
        if indices_tuple is not None:
            directions = [self._listed(matrix, lmu.convert_to_triplets(indices_tuple, labels, ref_labels))]
        else:
            positives, negatives = self.masks(embeddings, labels, ref_emb, ref_labels)
            simple = ref_emb is not embeddings and self._only_mean_counts()
            if simple and (self._pairs_by_row(embeddings, ref_emb) or _one_each(positives)):
                slope = self.alpha * self.scale * (1 if self.distance.is_inverted else -1)
                mean = soft_margin_mean(matrix, positives, negatives, slope)
                return {"loss": {"losses": mean, "indices": None, "reduction_type": "already_reduced"}}
            directions = [self._direction(matrix, positives, negatives, rows_are_queries=True)]
            if ref_emb is not embeddings:
                directions.append(self._direction(matrix.T, positives.T, negatives.T, rows_are_queries=False))
        directions = [self._hardest(*terms) for terms in directions if len(terms[0])]
        if not directions:
            return {"loss": self.zero(embeddings, ref_emb)}
        losses, rows = _average(directions)
        return {"loss": {"losses": losses, "indices": rows, "reduction_type": "element"}}

    def masks(
        self, embeddings: Tensor, labels: Tensor | None, ref_emb: Tensor, ref_labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the positive and the negative pairs, two bool `[N, M]`; `ref_emb is embeddings` for a single set.

        To be overridden where some pairs are neither (VIGOR's semi-positives).
        """
        if self._pairs_by_row(embeddings, ref_emb):
            return paired_rows(embeddings, labels, ref_labels, self.exclusion)
        return labelled_pairs(embeddings, labels, ref_emb, ref_labels, self.exclusion)

    def _pairs_by_row(self, embeddings: Tensor, ref_emb: Tensor) -> bool:
        """Tell whether row i of one belongs to row i of the other alone, as promised; a subclass may know better."""
        own = type(self).masks is SoftMarginTripletLoss.masks
        return own and self.paired_rows and ref_emb is not embeddings and len(embeddings) == len(ref_emb)

    def _only_mean_counts(self) -> bool:
        """Tell whether only the mean of the terms is used."""
        reducer = self.reducer
        if isinstance(reducer, MultipleReducers):  # beside a regularizer
            reducer = dict(reducer.reducers).get("loss", reducer.default_reducer)
        return type(reducer) is MeanReducer and self.hard_ratio == 1

    def _direction(self, matrix: Tensor, positives: Tensor, negatives: Tensor, rows_are_queries: bool) -> Terms:
        """Return the terms of all triplets that start from a row of `matrix`."""
        rows, partners = positives.nonzero(as_tuple=True)
        own = matrix[rows, partners][:, None]
        if len(rows) != len(matrix) or (rows.diff() != 1).any():  # otherwise every row stands once, in order
            matrix, negatives = matrix[rows], negatives[rows]
        violations = self.excess(own, matrix).masked_select(negatives)
        queries = rows if rows_are_queries else partners
        return F.softplus(self.alpha * violations), queries[:, None].expand_as(negatives).masked_select(negatives)

    def _listed(self, matrix: Tensor, triplets: tuple[Tensor, Tensor, Tensor]) -> Terms:
        """Return the terms of listed triplets (rows of queries, positives, negatives)."""
        rows, positives, negatives = (indices.long().to(matrix.device) for indices in triplets)
        violations = self.excess(matrix[rows, positives], matrix[rows, negatives])
        return F.softplus(self.alpha * violations), rows

    def _hardest(self, terms: Tensor, rows: Tensor) -> Terms:
        """Return the largest terms, a share `hard_ratio` of them."""
        if self.hard_ratio == 1:
            return terms, rows
        terms, kept = terms.topk(max(1, int(self.hard_ratio * len(terms))), sorted=False)
        return terms, rows[kept]


def _one_each(positives: Tensor) -> bool:
    """Tell whether every row and every column has one positive; on a GPU, this waits for the device once."""
    n, m = positives.shape
    return n == m and bool((positives.sum(0) == 1).logical_and(positives.sum(1) == 1).all())


def _average(directions: list[Terms]) -> Terms:
    """Return terms whose mean is the mean of the directions' means, also if these have different numbers of terms."""
    total = sum(len(terms) for terms, _ in directions)
    weighted = [terms * (total / (len(directions) * len(terms))) for terms, _ in directions]
    return torch.cat(weighted), torch.cat([rows for _, rows in directions])
