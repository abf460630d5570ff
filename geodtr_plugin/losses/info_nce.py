"""InfoNCE in both directions, with a temperature that is learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from . import register_loss
from .full_precision import FullPrecisionLoss, SubLoss
from .pairs import Exclusion, labelled_pairs, listed_pairs


@register_loss("info_nce")
class InfoNCELoss(FullPrecisionLoss):
    """The cross-entropy of cosine similarities, from query to reference and back.

    Called as `loss(query, labels, ref_emb=reference, ref_labels=labels)`. For every positive pair, the query chooses
    among this reference and all of its negatives, and likewise the reference among this query and its own negatives:
    the other positives of a row are no negatives and stay out of its choice. The loss is the mean over positive pairs,
    averaged over the two directions; where every row has one positive, it is torch's cross-entropy both ways.

    * labels None: row i of one belongs to row i of the other. ref_labels None: as labels.
    * no ref_emb: all pairs within `embeddings`, no row with itself.
    * `exclusion`: pairs that it names are no choice at all, neither the right nor a wrong one.
    * `indices_tuple` (PML pairs or triplets, for instance of a miner): exactly these positives and negatives, each
      counted once, from query to reference alone, as PML's NTXentLoss does.
    * no positive, or no negative: 0, attached to the graph.

    The logit scale is a parameter, to be given to an optimizer; without learning it stays where it starts. Each row of
    `embeddings` has its share of both directions in the one sub-loss "loss", reduced as elements, so that their mean is
    the loss. No shape depends on the data, and nothing waits for the device.

    Args:
        temperature: what similarities are divided by at first: the logit scale starts at -log of it, used as its exp.
        learn_temperature: whether the logit scale has a gradient.
        label_smoothing: probability that is spread evenly over the right and the wrong choices.
        exclusion: function of labels `[N]` and ref_labels `[M]` to bool `[N, M]`, for instance `NearbyPlaces`.
        **kwargs: see `FullPrecisionLoss`.

    Raises:
        ValueError: `temperature` is not above 0, or `label_smoothing` not in [0, 1).

    Source: Deuser et al., ICCV 2023 (Sample4Geo), section 3.2.
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learn_temperature: bool = True,
        label_smoothing: float = 0.1,
        exclusion: Exclusion | None = None,
        **kwargs,
    ):
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, not {label_smoothing}")
        super().__init__(**kwargs)
        self.logit_scale = nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learn_temperature)
        self.label_smoothing, self.exclusion = label_smoothing, exclusion
        self.add_to_recordable_attributes(list_of_names=["label_smoothing"], is_stat=False)

    def compute_loss(
        self,
        embeddings: Tensor,
        labels: Tensor | None,
        indices_tuple: tuple[Tensor, ...] | None,
        ref_emb: Tensor,
        ref_labels: Tensor | None,
    ) -> dict[str, SubLoss]:
        """Return the losses `[N]` of embeddings `[N, D]`, labels `[N]`, ref_emb `[M, D]`, ref_labels `[M]`."""
        if len(embeddings) == 0:
            return {"loss": self.zero(embeddings, ref_emb)}
        # half a squared distance is a cosine similarity up to sign and a constant, which the softmax does not see
        logits = -0.5 * self.logit_scale.exp() * self.excess(self.distance(embeddings, ref_emb), 0.0)
        if indices_tuple is not None:
            positives, negatives = listed_pairs(indices_tuple, logits.shape, logits.device)
        else:
            positives, negatives = labelled_pairs(embeddings, labels, ref_emb, ref_labels, self.exclusion)
        terms = self._choices(logits, positives, negatives)
        if indices_tuple is None and ref_emb is not embeddings:
            terms = (terms + self._choices(logits.T, positives.T, negatives.T).T) / 2
        rows = terms.sum(1) * (len(terms) / positives.sum().clamp(min=1))
        numbers = torch.arange(len(rows), device=rows.device)
        return {"loss": {"losses": rows, "indices": numbers, "reduction_type": "element"}}

    def _choices(self, logits: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Return the cross-entropy `[N, M]` of each positive pair against the negatives of its row, 0 elsewhere."""
        # the lowest number rather than -inf: a row without negatives must not make its gradient undefined
        wrong = logits.masked_fill(~negatives, torch.finfo(logits.dtype).min).logsumexp(1, keepdim=True)
        target = logits
        if self.label_smoothing:
            choices = 1 + negatives.sum(1, keepdim=True)
            mean = (logits + logits.where(negatives, 0).sum(1, keepdim=True)) / choices
            target = torch.lerp(logits, mean, self.label_smoothing)
        return (torch.logaddexp(logits, wrong) - target).where(positives, 0)
