"""A training batch: as it was loaded, as embeddings, and how its gradient reaches the parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ..utils.distributed import gather_rows

Synchronise = Callable[[bool], contextlib.AbstractContextManager[None]]


class Batch(NamedTuple):
    """A batch as it was loaded, on the device of the training."""

    query: Tensor  # [B, 3, H, W]
    reference: Tensor  # [B, 3, H', W']
    labels: Tensor  # int64 [B], places
    rows: list[int]  # rows of the data set, [B]


class BatchEmbeddings(NamedTuple):
    """Embeddings of a batch, [B, D] each, float32 or wider; counterfactual ones where there is a loss for them."""

    query: Tensor
    reference: Tensor
    query_cf: Tensor | None = None
    reference_cf: Tensor | None = None

    def gathered(self) -> BatchEmbeddings:
        """Return the rows of all processes, with gradient."""
        return BatchEmbeddings(*(None if rows is None else gather_rows(rows) for rows in self))


class WholeBatch:
    """A batch that is embedded in one pass; the counterpart of `MicroBatches`.

    Args:
        prepared: query, reference and labels as the network takes them.
        embed: query, reference -> embeddings.
    """

    def __init__(self, prepared: tuple[Tensor, Tensor, Tensor], embed: Callable[[Tensor, Tensor], BatchEmbeddings]):
        self.prepared, self.embed_images = prepared, embed

    def embed(self) -> tuple[BatchEmbeddings, Tensor]:
        """Return the embeddings [B, D] and the labels [B]."""
        query, reference, labels = self.prepared
        return self.embed_images(query, reference), labels

    def backward(self, synchronise: Synchronise) -> None:
        """Do nothing: the gradient of the loss is that of the parameters already."""
