"""A PML miner for batches made by CHSG: triplets whose negative is the twin."""

from __future__ import annotations

import torch
from pytorch_metric_learning.miners import BaseMiner
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_triplets_indices
from torch import Tensor

from ..utils.errors import UnknownNameError
from . import register_miner

MODES = ("only", "with_all")


class TwinMiner(BaseMiner):
    """A miner of the triplets (anchor, positive, twin) of a CHSG batch, whose labels are `2 * place + sample`.

    With `ref_emb`, anchors are rows of the embeddings, positives and negatives rows of the references; without it all
    are rows of the embeddings, and the two views of a sample have to be there both.

    Recorded when PML collects statistics: `num_triplets`, `num_twin_triplets`, `avg_twin_margin` (how much nearer the
    positive is than the twin, by the miner's distance) and `twin_error_rate` (share of twin triplets in which it is
    not nearer).

    Args:
        mode: "only": the twin triplets. "with_all": every triplet of the batch, as PML forms them without a miner, and
            the twin triplets `repeats` times.
        repeats: how often "with_all" lists a twin triplet. In a batch of N samples, N - 2 makes the twin weigh as much
            in a mean as all other negatives together.
        **kwargs: PML's, such as `distance`.

    Raises:
        UnknownNameError: there is no such mode.
        ValueError: `repeats` is below 1.
    """

    needs_twins = True  # batches without twins have nothing for it

    def __init__(self, mode: str = "only", repeats: int = 1, **kwargs):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise UnknownNameError("TwinMiner mode", mode, MODES)
        if repeats < 1:
            raise ValueError(f"A twin triplet is listed once or more often, not {repeats} times.")
        self.mode, self.repeats = mode, repeats
        self.add_to_recordable_attributes(list_of_names=["repeats"], is_stat=False)
        self.add_to_recordable_attributes(
            list_of_names=["num_twin_triplets", "avg_twin_margin", "twin_error_rate"], is_stat=True
        )

    def mine(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor, ref_labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return triplets of embeddings `[N, D]`, labels `[N]`, ref_emb `[M, D]`, ref_labels `[M]`: three int64 `[T]`.

        Raises:
            TypeError: labels are no whole numbers.
        """
        if labels.is_floating_point():
            raise TypeError(f"TwinMiner finds twins by the last bit of whole-number labels, not of {labels.dtype}.")
        if ref_emb is not embeddings:
            # PML takes one tensor for both to mean one set of samples, and drops the true pairs
            ref_labels = ref_labels.clone()
        twins = twin_triplets(labels, ref_labels)
        self._record(embeddings, ref_emb, twins)
        if self.mode == "only":
            return twins
        every = get_all_triplets_indices(labels, ref_labels)
        repeated = [[twin] * (self.repeats - 1) for twin in twins]
        anchor, positive, negative = (torch.cat([rows, *more]) for rows, more in zip(every, repeated))
        return anchor, positive, negative

    def _record(self, embeddings: Tensor, ref_emb: Tensor, twins: tuple[Tensor, Tensor, Tensor]) -> None:
        self.num_twin_triplets = len(twins[0])
        if not self.collect_stats or not self.num_twin_triplets:
            return
        anchor, positive, twin = twins
        distances = self.distance(embeddings, ref_emb)
        margin = distances[anchor, twin] - distances[anchor, positive]
        margin = -margin if self.distance.is_inverted else margin
        self.avg_twin_margin = margin.mean().item()
        self.twin_error_rate = (margin <= 0).float().mean().item()


def twin_triplets(labels: Tensor, ref_labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return all (anchor, positive, negative) whose negative bears the label of the anchor's twin.

    Args:
        labels: integers [N].
        ref_labels: integers [M]; the very same tensor means one set of samples, in which none is its own positive.

    Returns:
        three int64 tensors [T]: rows of `labels`, rows of `ref_labels`, rows of `ref_labels`.
    """
    matches = labels[:, None] == ref_labels
    if ref_labels is labels:
        matches.fill_diagonal_(False)
    anchor, positive = torch.where(matches)
    pair, negative = torch.where((labels ^ 1)[anchor, None] == ref_labels)
    return anchor[pair], positive[pair], negative


@register_miner("twin")
def only_twins(**args) -> TwinMiner:
    """Return the miner of the triplets whose negative is the twin."""
    return TwinMiner("only", **args)


@register_miner("twin+all")
def twins_with_all(**args) -> TwinMiner:
    """Return the miner of all triplets, which lists those with a twin `repeats` times."""
    return TwinMiner("with_all", **args)
