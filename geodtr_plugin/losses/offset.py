"""VIGOR's objectives: where in its tile a query was taken, and how much a tile that shows it too resembles its own.

Source: Zhu et al., CVPR 2021, section 4; constants from the released code.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..augmentations import turn_offsets
from ..utils.pair_data import OFFSET, SEMI_POSITIVE, SEMI_POSITIVE_OFFSET
from .objective import NetworkBatch, Objective

LEAST_SIMILARITY = 1e-3  # of a pair, that others are divided by: untrained networks come near to 0


class OffsetObjective(Objective):
    """The mean squared distance between predicted and true offset, in halves of a tile's side, times a scale.

    The model predicts it as `extras["offset"]`, `[B, 2]`, in the unit of `datasets.Offsets`. Rows whose offset is not
    known count as 0.

    Args:
        trains: the part of the network that predicts.
        scale: of the mean.
    """

    needs = (OFFSET,)

    def __init__(self, trains: str = "offset_head", scale: float = 0.01):
        super().__init__()
        self.trains, self.scale = trains, scale

    def forward(self, batch: NetworkBatch, embeddings: Any) -> Tensor:
        """Return the loss `[]`."""
        true = batch.data[OFFSET]
        if batch.layouts is not None:
            true = turn_offsets(true, batch.layouts)
        known = true.isfinite().all(dim=1)
        halves = 2 * (embeddings.extras[OFFSET].float() - true.nan_to_num())
        return self.scale * (halves.square().sum(dim=1) * known).mean()

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class OverlapObjective(Objective):
    """Let similarities to a tile and to its semi-positive relate as the areas that tiles around the query share.

    With t = IoU(semi-positive) / IoU(positive), where IoU is that of the tile and one centred on the query, the loss is
    the mean of `(cos(semi-positive, query) / cos(positive, query) - t)^2`, times a scale. Rows whose offsets are not
    known count as 0.

    Args:
        scale: of the mean.
    """

    needs = (OFFSET, SEMI_POSITIVE, SEMI_POSITIVE_OFFSET)

    def __init__(self, scale: float = 0.1):
        super().__init__()
        self.scale = scale

    def forward(self, batch: NetworkBatch, embeddings: Any) -> Tensor:
        """Return the loss `[]`."""
        near, far = (overlap(batch.data[name]) for name in (OFFSET, SEMI_POSITIVE_OFFSET))
        known = near.isfinite() & far.isfinite()
        right = (embeddings.query * embeddings.reference).sum(dim=1)
        other = (embeddings.query * embeddings.semi_positive).sum(dim=1)
        ratio = other / _away_from_zero(right)
        wanted = torch.where(known, far / near, ratio.detach())
        return self.scale * (ratio - wanted).square().mean()

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


def overlap(offsets: Tensor) -> Tensor:
    """Return the intersection over union of a tile and an equal one at `offsets` `[B, 2]` in parts of its side, `[B]`.

    A quarter of the side both ways gives 0.3913, half of it 0.1429.
    """
    shared = (1 - offsets.abs()).clamp(min=0).prod(dim=1)
    return shared / (2 - shared)


def _away_from_zero(similarity: Tensor) -> Tensor:
    """Clamp similarities `[B]` of either sign to LEAST_SIMILARITY at least, in size."""
    least = torch.where(similarity < 0, -LEAST_SIMILARITY, LEAST_SIMILARITY).to(similarity)
    return torch.where(similarity.abs() < LEAST_SIMILARITY, least, similarity)
