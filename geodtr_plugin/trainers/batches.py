"""A training batch: as it was loaded, as embeddings, and how its gradient reaches the parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..losses import NetworkBatch
from ..utils.distributed import gather_objects, gather_rows, world_size

if TYPE_CHECKING:
    from ..samplers import EmbeddingBank

Synchronise = Callable[[bool], contextlib.AbstractContextManager[None]]


class Batch(NamedTuple):
    """A batch as it was loaded, on the device of the training."""

    query: Tensor  # [B, 3, H, W]
    reference: Tensor  # [B, 3, H', W']
    labels: Tensor  # int64 [B], places
    rows: list[Any]  # rows of the data set, [B]
    data: Mapping[str, Tensor] = {}  # further data of the pairs, [B, ...], for objectives


class BatchEmbeddings(NamedTuple):
    """Embeddings of a batch, [B, D] each, float32 or wider; counterfactual ones where there is a loss for them."""

    query: Tensor
    reference: Tensor
    query_cf: Tensor | None = None
    reference_cf: Tensor | None = None
    extras: Mapping[str, Tensor] | None = None  # what heads of the model say, [B, ...]
    semi_positive: Tensor | None = None  # of the batch's semi-positives

    def gathered(self) -> BatchEmbeddings:
        """Return the embeddings of all processes, with gradient, without what objectives see of their own rows."""
        return BatchEmbeddings(*(None if rows is None else gather_rows(rows) for rows in self.of_pairs()))

    def of_pairs(self) -> tuple[Tensor | None, ...]:
        """Return the embeddings that losses of all rows see."""
        return self[:4]


class WholeBatch:
    """A batch that is embedded in one pass; the counterpart of `MicroBatches`.

    Args:
        prepared: the batch as the network takes it.
        embed: query, reference -> embeddings.
    """

    def __init__(self, prepared: NetworkBatch, embed: Callable[[Tensor, Tensor], BatchEmbeddings]):
        self.prepared, self.embed_images = prepared, embed

    def embed(self) -> tuple[BatchEmbeddings, Tensor]:
        """Return the embeddings [B, D] and the labels [B]; semi-positives go with the references, in one call."""
        batch = self.prepared
        if batch.semi_positive is None:
            return self.embed_images(batch.query, batch.reference), batch.labels
        embeddings = self.embed_images(batch.query, torch.cat([batch.reference, batch.semi_positive]))
        references, others = embeddings.reference.split([len(batch.reference), len(batch.semi_positive)])
        cut = None if embeddings.reference_cf is None else embeddings.reference_cf[: len(references)]
        return embeddings._replace(reference=references, reference_cf=cut, semi_positive=others), batch.labels

    def backward(self, synchronise: Synchronise) -> None:
        """Do nothing: the gradient of the loss is that of the parameters already."""


def write_bank(bank: EmbeddingBank, batch: Batch, embeddings: BatchEmbeddings) -> None:
    """Keep the embeddings `[B, D]` of the batches of all processes in a bank."""
    own = slice(len(batch.rows))  # twins come after all first samples
    pair = (gather_rows(rows[own].detach()) for rows in embeddings[:2])
    rows = batch.rows if world_size() == 1 else sum(gather_objects(batch.rows), [])
    bank.write(rows, *pair)
