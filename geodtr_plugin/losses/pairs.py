"""Which pairs of a batch are positive and which are negative, as two masks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch import Tensor

Masks = tuple[Tensor, Tensor]  # positives and negatives, two bool [N, M]
Exclusion = Callable[[Tensor, Tensor], Tensor]


def labelled_pairs(
    embeddings: Tensor,
    labels: Tensor | None,
    ref_emb: Tensor,
    ref_labels: Tensor | None,
    exclusion: Exclusion | None = None,
) -> Masks:
    """Return the positive and the negative pairs of embeddings `[N, D]` and ref_emb `[M, D]`, two bool `[N, M]`.

    Labels that are both None mean that row i of one belongs to row i of the other; ref_labels None: as labels. A single
    set (`ref_emb is embeddings`) does not pair a row with itself. What `exclusion` names is neither.

    Raises:
        ValueError: nothing says what belongs together, or which pairs are excluded.
    """
    one_set = ref_emb is embeddings
    if labels is None and ref_labels is None and not one_set:
        if exclusion is not None:
            raise ValueError("The loss needs labels to know which pairs are excluded: pass the places.")
        labels = torch.arange(len(embeddings), device=embeddings.device)
    labels = ref_labels if labels is None else labels
    if labels is None:
        raise ValueError("The loss needs labels, ref_emb or indices_tuple: what belongs together?")
    ref_labels = labels if ref_labels is None else ref_labels
    if len(labels) != len(embeddings) or len(ref_labels) != len(ref_emb):
        raise ValueError(
            f"{len(embeddings)} embeddings and {len(ref_emb)} ref_emb are no pairs row by row: "
            "pass labels and ref_labels."
        )
    same = labels[:, None] == ref_labels[None, :]
    negatives = ~same if exclusion is None else ~(same | exclusion(labels, ref_labels))
    return same.clone().fill_diagonal_(False) if one_set else same, negatives


def paired_rows(
    embeddings: Tensor, labels: Tensor | None, ref_labels: Tensor | None, exclusion: Exclusion | None = None
) -> Masks:
    """Return the positive and the negative pairs, two bool `[N, N]`, where row i belongs to row i alone.

    No label is read, which on a GPU would make the host wait.

    Raises:
        ValueError: there are no labels to say which pairs are excluded.
    """
    same = torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device)
    if exclusion is None:
        return same, ~same
    if labels is None:
        raise ValueError("The loss needs labels to know which pairs are excluded: pass the places.")
    return same, ~(same | exclusion(labels, labels if ref_labels is None else ref_labels))


def listed_pairs(indices_tuple: tuple[Tensor, ...], shape: torch.Size, device: torch.device) -> Masks:
    """Return PML's pairs (a1, p, a2, n) or triplets (a, p, n) as two bool `[N, M]`; repetitions count once."""
    masks = []
    a1, p, a2, n = (rows.long().to(device) for rows in lmu.convert_to_pairs(indices_tuple, None))
    for rows, columns in ((a1, p), (a2, n)):
        mask = torch.zeros(shape, dtype=torch.bool, device=device)
        mask[rows, columns] = True
        masks.append(mask)
    return masks[0], masks[1]
