"""Objectives beside the metric loss: what a method minimises that needs more than embeddings and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn


class NetworkBatch(NamedTuple):
    """A batch of one process as the network got it: all first samples, then all twins where CHSG made twins."""

    query: Tensor  # [B, C, H, W], normalised
    reference: Tensor  # [B, C, H', W'], normalised
    labels: Tensor  # int64 [B]
    rows: list[Any]  # of the data set, [B]
    layouts: Tensor | None  # int64 [B], 0..7, that both images were turned by; None: they came as they are
    data: Mapping[str, Tensor]  # further data of the pairs, [B, ...], as the data set has them: not turned
    semi_positive: Tensor | None = None  # [B, C, H', W']: another reference of each place, turned as the sample
    turns: Tensor | None = None  # int64 [B], 0..3: quarters clockwise that the reference alone was turned by


class Objective(nn.Module):
    """A term of the training loss that sees the whole batch; a method brings its own by `build_objectives`.

    It is called once a step with the batch and its embeddings, and returns a mean over the rows. With several processes
    each computes its own rows; gradients and the values that are logged are averaged. Its weight is the recipe's
    `loss.objectives`, or else its own.

    Attributes:
        weight: in the sum of all losses.
        needs: what the data must tell of a pair, names of `utils.pair_data.PAIR_DATA`. Where a data set does not, the
            objective is left out.
        trains: part of the network that it alone trains (as in `--optim.freeze`), which is frozen where it is left out.
    """

    weight: float = 1.0
    needs: ClassVar[tuple[str, ...]] = ()
    trains: str = ""

    def forward(self, batch: NetworkBatch, embeddings: Any) -> Tensor:
        """Return the loss `[]`.

        Args:
            batch: as the network got it.
            embeddings: of its rows: `query` and `reference` `[B, D]`, `semi_positive` `[B, D]` where that was asked
                for, and `extras`, what the model's heads say, by name.
        """
        raise NotImplementedError
