"""The order of the items and their random draws: functions of the seed and the epoch alone."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler, get_worker_info

from ..utils.distributed import shard
from ..utils.seed import isolated_rng, seed_cpu


class EpochSampler(Sampler[int]):
    """Shuffled indices whose order depends on nothing but `(seed, epoch)`.

    An epoch may be shorter or longer than the data set. A longer one goes through it again in a new order; each
    passage is cut to whole batches, so that no batch holds the same pair twice.

    Args:
        size: number of items.
        batch_size: items a batch.
        seed: first half of the key of the order; the epoch is the other.
        batches: batches an epoch; by default as many whole ones as the items fill.

    Raises:
        ValueError: the items do not fill one batch.
    """

    def __init__(self, size: int, batch_size: int = 1, seed: int = 0, batches: int | None = None):
        if not 1 <= batch_size <= size:
            raise ValueError(f"{size} items do not fill a batch of {batch_size}.")
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.whole = size - size % batch_size
        self.length = self.whole if batches is None else batches * batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch for the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.epoch])
        left = self.length
        while left > 0:
            order = generator.permutation(self.size)[: min(self.whole, left)]
            left -= len(order)
            yield from order.tolist()


def tell_epoch(batches: Iterable[Any], epoch: int) -> bool:
    """Tell a batch sampler and the sampler below it the epoch; return whether one of them has an order for each."""
    below: tuple[Any, ...] = (batches, getattr(batches, "sampler", None))
    per_epoch = [sampler for sampler in below if hasattr(sampler, "set_epoch")]
    for sampler in per_epoch:
        sampler.set_epoch(epoch)
    return bool(per_epoch)


class SeededBatches:
    """The batches of a batch sampler, each index beside the seed of its item: lists of `(seed, index)`.

    The seeds travel with the indices, so the draws of an item do not depend on the worker that loads it, nor on how
    many there are, nor on what was loaded before. Of several processes, each gets its part of every batch.

    Args:
        batches: yields lists of indices.
        seed: first part of the key of the seeds; epoch, passage and position in it are the others.

    Attributes:
        issued: the indices of batches that were handed to the loader and not yet taken up by the trainer, oldest first.
    """

    def __init__(self, batches: Iterable[Sequence[Any]], seed: int = 0):
        self.batches = batches
        self.seed = seed
        self.epoch = 0
        self.passage = 0
        self.passed_over = 0  # batches still to leave out
        self.issued: deque[list[Any]] = deque()

    def set_epoch(self, epoch: int, first: int = 0) -> bool:
        """Choose the epoch, and hand it on to the samplers below.

        Args:
            epoch: which.
            first: batches of it that a training had before it was interrupted, and which are left out now.

        Returns:
            Whether one of those has an order for every epoch, so that it wants to be started anew.
        """
        self.epoch, self.passage, self.passed_over = epoch, 0, first
        return tell_epoch(self.batches, epoch)

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[tuple[int, Any]]]:
        self.issued.clear()  # what an earlier iterator had read ahead is lost
        while self.passed_over and self.passed_over >= len(self):  # whole passages
            self.passed_over -= len(self)
            self.passage += 1
        key = (self.seed, self.epoch, self.passage)
        self.passage += 1
        for position, indices in enumerate(self.batches):
            if self.passed_over:
                self.passed_over -= 1
                continue
            seeds = np.random.SeedSequence([*key, position]).generate_state(len(indices), np.uint32)
            keys, own = list(zip(seeds.tolist(), indices)), shard(len(indices))
            self.issued.append(list(indices[own.start : own.stop]))
            yield keys[own.start : own.stop]


class SeededItems(Dataset):
    """A data set that takes `(seed, index)` and loads the item with its random draws fixed by the seed.

    In a worker the generators stay at the item's seed, which makes the draws of a `collate_fn` repeatable too; in
    the main process, where they belong to the training, they are put back.

    Args:
        dataset: any map-style data set.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: tuple[int, Any]) -> Any:
        seed, index = key
        with _draws_from(seed):
            return self.dataset[index]

    def __getitems__(self, keys: Sequence[tuple[int, Any]]) -> Any:
        """Load a whole batch: in one call where the data set can do that, else item by item."""
        whole_batch = getattr(self.dataset, "__getitems__", None)
        if whole_batch is None:
            return [self[key] for key in keys]
        with _draws_from(keys[0][0]):
            return whole_batch([index for _, index in keys])


def _draws_from(seed: int) -> contextlib.AbstractContextManager[None]:
    if get_worker_info() is None:
        return isolated_rng(seed)
    seed_cpu(seed)
    return contextlib.nullcontext()
