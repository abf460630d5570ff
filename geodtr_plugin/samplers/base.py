"""What the batch samplers share: an order for every epoch, and as many batches in each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np
from torch.utils.data import BatchSampler

from ..utils.errors import UserError

_ATTEMPTS = 4  # draws of an epoch that may come out shorter than the first before that one is used again


class EpochBatchSampler(BatchSampler):
    """Whole batches of rows; a row comes at most once an epoch, and the order follows from (seed, epoch) alone.

    Rules about what may meet in a batch can leave a few rows over, and not in all orders the same number. Trainers
    count on one number of batches, so this is that of a first draw, made when the sampler is. A longer epoch is cut to
    it; in place of a shorter one another draw is taken, and should a few of these be short too, the batches of the
    first draw in a new order.

    Args:
        num_pairs: rows 0 ... num_pairs - 1.
        batch_size: rows a batch.
        seed: first half of the key of the order; the epoch is the other.

    Raises:
        UserError: not even one batch comes about.
    """

    places_differ = True  # no batch shows a place twice

    def __init__(self, num_pairs: int, batch_size: int, seed: int = 0):
        if batch_size < 2:
            raise UserError(f"A batch of {batch_size} holds no negatives to learn from; choose 2 or more.")
        super().__init__(range(num_pairs), batch_size, drop_last=True)
        self.seed = seed
        self.epoch = 0
        self._first = self.draw(np.random.default_rng([seed]))
        if not self._first:
            raise UserError(self.too_few())

    @abstractmethod
    def draw(self, generator: np.random.Generator) -> list[list[int]]:
        """Return the whole batches of one epoch, lists of rows."""

    @abstractmethod
    def too_few(self) -> str:
        """Return the message for an epoch without a batch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch for the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches in every epoch, exactly."""
        return len(self._first)

    def __iter__(self) -> Iterator[list[int]]:
        for attempt in range(_ATTEMPTS):
            batches = self.draw(np.random.default_rng([self.seed, self.epoch, attempt]))
            if len(batches) >= len(self):
                return iter(batches[: len(self)])
        order = np.random.default_rng([self.seed, self.epoch, _ATTEMPTS]).permutation(len(self))
        return iter([self._first[i] for i in order])
