"""Batches out of several training sets: each set has a sampler and a share of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.utils.data import BatchSampler

from ..utils.errors import NoCoordinatesError, UserError
from .by_name import build_sampler, shows_places_once
from .seeded_loading import EpochSampler, tell_epoch

if TYPE_CHECKING:
    from ..datasets import Split


class JointBatchSampler(BatchSampler):
    """Whole batches of rows of several sets; what an epoch holds follows from (seed, epoch) and the sets' samplers.

    A set runs on over the epochs: the next one begins where the last one left it, and when the set has been gone
    through, its sampler is told the next number and draws it anew. So every pair comes as often as any other of its
    set, however few of them an epoch takes.

    Args:
        samplers: of each set, over its own rows from 0 on, with as many batches in every passage.
        pairs: of each set.
        counts: pairs of each set in each batch of an epoch, int `[batches, sets]`, whose order each epoch draws. They
            are the first ones of a batch of the set's own sampler, which is at least so large.
        seed: first half of the key of the order; the epoch is the other.
        places_differ: no batch of any of the samplers shows a place twice.
    """

    def __init__(
        self, samplers: Sequence[BatchSampler], pairs: Sequence[int], counts: np.ndarray, seed: int = 0,
        places_differ: bool = False,
    ):  # fmt: skip
        super().__init__(range(sum(pairs)), int(counts[0].sum()), drop_last=True)
        self.samplers, self.counts, self.seed = tuple(samplers), counts, seed
        self.starts = np.cumsum([0, *pairs])
        self.places_differ = places_differ
        self.epoch = 0
        self.follows = next((f for sampler in samplers if (f := getattr(sampler, "follows", None))), None)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of that epoch for the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.counts)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed, self.epoch, len(self.samplers)])
        streams = [self._batches_of(number) for number in range(len(self.samplers))]
        for counts in generator.permutation(self.counts).tolist():
            rows = np.concatenate([next(stream)[:count] for stream, count in zip(streams, counts) if count])
            yield generator.permutation(rows).tolist()  # processes and micro-batches take rows that are neighbours

    def _batches_of(self, number: int) -> Iterator[np.ndarray]:
        """Yield the rows of a set's batches from where the epochs before have left it, without end."""
        sampler, uses = self.samplers[number], int(np.count_nonzero(self.counts[:, number]))
        passage, passed = divmod(self.epoch * uses, len(sampler))
        while True:
            tell_epoch(sampler, passage)
            for rows in islice(sampler, passed, None):
                yield np.asarray(rows) + self.starts[number]
            passage, passed = passage + 1, 0

    def update(self, query: Tensor, reference: Tensor, **options: Any) -> None:
        """Give the samplers that follow the network the embeddings `[P, D]` of their own pairs, and their options."""
        for sampler, start, stop in zip(self.samplers, self.starts, self.starts[1:]):
            if hasattr(sampler, "update"):
                sampler.update(query[start:stop], reference[start:stop], **options)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the samplers that have one, by the number of the set."""
        kept = {str(number): sampler for number, sampler in enumerate(self.samplers) if hasattr(sampler, "state_dict")}
        return {number: sampler.state_dict() for number, sampler in kept.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        for number, own in state.items():
            self.samplers[int(number)].load_state_dict(own)  # type: ignore[attr-defined]


def build_joint_sampler(
    name: str, parts: Sequence[Split], batch_size: int, seed: int = 0, args: Mapping[str, Any] | None = None,
    shares: Sequence[float] | None = None, mixed: bool = True,
) -> JointBatchSampler:  # fmt: skip
    """Build the sampler of several training sets.

    An epoch has as many batches as the pairs of all sets fill. A set that has no coordinates for a sampler that goes
    by them gets the one that it would have by itself ("auto").

    Args:
        name: the sampler of each set, see `build_sampler`.
        parts: the training sets.
        batch_size: pairs a batch.
        seed: of the order.
        args: arguments of the sampler.
        shares: how much of the training each set is, in any unit; None: by their pairs.
        mixed: every batch holds pairs of all sets, by their shares; else batches hold pairs of one set, and the shares
            are those of batches.

    Raises:
        UserError: a set does not fill its part of a batch, or the sampler can be built for no set, or a
            share is so small that it comes to nothing.
    """
    pairs = [len(part.pairs) for part in parts]
    counts = pairs_in_batches(pairs if shares is None else shares, max(1, sum(pairs) // batch_size), batch_size, mixed)
    left_out = np.flatnonzero(counts.sum(axis=0) == 0)
    if len(left_out):
        raise UserError(
            f"{parts[left_out[0]].name} gets nothing of an epoch of {len(counts):,} batches of {batch_size} pairs.",
            "Give it a larger share (--shares).",
        )
    seeds = [int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) for number in range(len(parts))]
    samplers, once = _samplers(name, parts, counts.max(axis=0).tolist(), seeds, {} if args is None else args)
    return JointBatchSampler(samplers, pairs, counts, seed, all(once))


def _samplers(
    name: str, parts: Sequence[Split], sizes: Sequence[int], seeds: Sequence[int], args: Mapping[str, Any]
) -> tuple[list[BatchSampler], list[bool]]:
    """Return a sampler for every set, and whether its batches show each place once.

    Raises:
        UserError: a set does not fill a batch of its own, or none of them has what the sampler needs.
    """
    samplers, once, refused = [], [], []
    for part, size, seed in zip(parts, sizes, seeds):
        if len(part.pairs) < size:
            raise UserError(f"{part!r} does not fill {size} pairs of a batch.", "Lower --batch-size, or its share.")
        sampler = None
        if size > 1:  # one pair has nothing in its set that it must not meet
            try:
                sampler = build_sampler(name, part, size, seed, args)
            except NoCoordinatesError as error:
                refused.append(error)
                sampler = build_sampler("auto", part, size, seed)
            except UserError as error:
                raise UserError(f"{part.name}, {size} pairs a batch: {error.message}", error.remedy) from error
        once.append(size == 1 or shows_places_once(sampler, part))
        samplers.append(sampler or BatchSampler(EpochSampler(len(part.pairs), size, seed), size, drop_last=True))
    if len(refused) == len(parts):
        raise refused[0]
    return samplers, once


def pairs_in_batches(shares: Sequence[float], batches: int, batch_size: int, mixed: bool) -> np.ndarray:
    """Return how many pairs of each set are in each batch, int64 `[batches, sets]`; every row adds up to `batch_size`.

    Mixed batches hold of each set its share, rounded down or up so that the mean over the batches is exact; others hold
    pairs of one set alone, of each set as many batches as its share, to the nearest.
    """
    ends = np.cumsum([0, *shares]) / np.sum(shares)
    ends[-1] = 1  # exactly
    if mixed:
        offsets = (np.arange(batches) + 0.5) / batches
        return np.diff(np.floor(ends * batch_size + offsets[:, None]), axis=1).astype(np.int64)
    uses = np.diff(np.floor(ends * batches + 0.5)).astype(np.int64)
    return np.repeat(batch_size * np.eye(len(shares), dtype=np.int64), uses, axis=0)
