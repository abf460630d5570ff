"""What objectives see of a step: the batch as the network gets it, with what else the data tell of its pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..augmentations import Samples
from ..losses import NetworkBatch
from ..utils.distributed import gather_rows
from ..utils.pair_data import SEMI_POSITIVE
from .batches import Batch


def network_batch(batch: Batch, transform: Callable[..., Any] | None) -> NetworkBatch:
    """Send a batch through a batch transform that tells its layouts; None leaves it as it is.

    Raises:
        TypeError: the transform does not tell them.
    """
    data = dict(batch.data)
    made = _samples(batch, data.pop(SEMI_POSITIVE, None), transform)
    samples = len(made.labels) // len(batch.labels)  # 2 with twins
    repeated = {name: values.repeat(samples, *[1] * (values.ndim - 1)) for name, values in data.items()}
    return NetworkBatch(*made[:3], list(batch.rows) * samples, made.layouts, repeated, made.more, made.turns)


def _samples(batch: Batch, more: Tensor | None, transform: Any) -> Samples:
    if transform is None:
        return Samples(*batch[:3], None, more)
    if not hasattr(transform, "samples"):
        raise TypeError("Objectives need a batch transform with a method `samples`, such as BatchTransform.")
    with torch.no_grad():
        return transform.samples(*batch[:3], more)


def mean_of_processes(loss: Tensor) -> Tensor:
    """Return the mean over all processes of a loss `[]`, with the gradient of this one's, as that is averaged later."""
    mean = gather_rows(loss.detach()[None]).mean()
    return loss + (mean - loss.detach())
