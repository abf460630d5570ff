"""A moving average of the weights of a network that trains."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keep a copy of a network whose weights are the exponential moving average of those that train.

    After update n (from 0) the average is `d * average + (1 - d) * weights` with `d = min(decay, n / (n + 9))`: the
    first update copies, and a run that is shorter than the memory of `decay` still averages over its own steps alone.
    The running statistics of batch normalisation, which are numbers of the weights of their time, are averaged along;
    counters are copied.

    Args:
        model: the network that trains; it is left alone.
        decay: share of the average that stays, in [0, 1); 0.999 remembers about a thousand steps.

    Raises:
        ValueError: decay is outside of its range.

    Source: Polyak and Juditsky, SIAM J. Control Optim. 1992; the growing decay as in TensorFlow's moving average.
    """

    def __init__(self, model: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; it must be at least 0 and below 1.")
        self.model = copy.deepcopy(model)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights of the network after a step into the average."""
        decay = min(self.decay, self.updates / (self.updates + 9))
        averaged: list[tuple[Tensor, Tensor]] = []
        for mine, theirs in zip(_tensors(self.model), _tensors(model)):
            if mine.is_floating_point():
                averaged.append((mine, theirs))
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(*map(list, zip(*averaged)), 1 - decay)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the average and how many steps are in it."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
