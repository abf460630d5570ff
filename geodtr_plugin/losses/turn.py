"""HER's second objective: by how far a tile was turned against its panorama."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .her import HERLoss
from .objective import NetworkBatch, Objective


class TurnObjective(Objective):
    """The squared distance between predicted and true (sine, cosine) of the turn, weighed as the triplets of the query.

    Theta times the mean over the matrix of queries and references, in which what is no negative counts as 0. The model
    predicts `extras["turn"]`, `[B, 2]`, of the angle by which the reference alone was turned, anticlockwise.

    Args:
        trains: the part of the network that predicts.
        theta: weight, which a schedule of the metric loss's `theta` sets too.
        **her: of the `HERLoss` whose weights count.

    Source: Cai et al., ICCV 2019; from the released code, whose theta is 0.5, and 2.5 from the 51st epoch on.
    """

    weight = 0.5

    def __init__(self, trains: str = "turn_head", theta: float = 1.0, **her: Any):
        super().__init__()
        self.trains, self.theta = trains, theta
        self.her = HERLoss(**her)

    def forward(self, batch: NetworkBatch, embeddings: Any) -> Tensor:
        """Return the loss `[]`."""
        errors = (embeddings.extras["turn"] - turn_vectors(batch)).square().sum(dim=1)
        matrix = self.her.distance(embeddings.query, embeddings.reference)
        z = self.her.alpha * self.her.excess(matrix.diagonal()[:, None], matrix)
        margin = self.her.margin_of(embeddings.query, embeddings.reference)
        weights = self.her.weights(z, margin, len(matrix)).where(batch.labels[:, None] != batch.labels, 0)
        return self.theta * (weights * errors[:, None]).mean()

    def extra_repr(self) -> str:
        return f"theta={self.theta}"


def turn_vectors(batch: NetworkBatch) -> Tensor:
    """Return sine and cosine `[B, 2]` of the angles by which references were turned anticlockwise."""
    turns = torch.zeros(len(batch.labels)) if batch.turns is None else batch.turns
    angles = turns.to(batch.query.device, torch.float32) * (-math.pi / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=1)
