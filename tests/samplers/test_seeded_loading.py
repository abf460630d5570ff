"""Orders and draws that depend on the seed and the epoch alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from geodtr_plugin.samplers.seeded_loading import EpochSampler, SeededBatches, SeededItems
from geodtr_plugin.utils.seed import one_thread_worker


class Draws(torch.utils.data.Dataset):
    """Items are what the three global generators give."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()], dtype=torch.float64)


class WholeBatches(Draws):
    def __getitems__(self, indices):
        return [self[index] for index in indices]


def draws(dataset, epoch, workers, seed=0, passages=1):
    batches = SeededBatches(BatchSampler(range(len(dataset)), 3, drop_last=True), seed)
    loader = DataLoader(
        SeededItems(dataset),
        batch_sampler=batches,
        num_workers=workers,
        generator=torch.Generator(),
        worker_init_fn=one_thread_worker,
    )
    batches.set_epoch(epoch)
    return torch.cat([batch for _ in range(passages) for batch in loader])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.data(), st.integers(0, 2**40), st.integers(0, 500))
def test_an_epoch_is_a_permutation_cut_to_whole_batches(size, data, seed, epoch):
    batch_size = data.draw(st.integers(1, size))
    sampler = EpochSampler(size, batch_size, seed)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert len(order) == len(sampler) == size // batch_size * batch_size
    assert len(set(order)) == len(order) and set(order) <= set(range(size))
    assert list(sampler) == order


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 30), st.data(), st.integers(0, 12))
def test_a_longer_epoch_has_whole_batches_without_repeats(size, data, batches):
    batch_size = data.draw(st.integers(2, size))
    order = list(EpochSampler(size, batch_size, batches=batches))
    assert len(order) == batches * batch_size
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    assert all(len(set(chunk)) == batch_size for chunk in chunks)


def test_orders_differ_between_epochs_passages_and_seeds():
    def order(seed, epoch, batches=4):
        sampler = EpochSampler(20, 5, seed, batches)
        sampler.set_epoch(epoch)
        return list(sampler)

    twice = order(0, 1, batches=8)
    assert twice[:20] == order(0, 1) != twice[20:]
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_too_few_items_are_refused():
    with pytest.raises(ValueError, match="3 items do not fill a batch of 4"):
        EpochSampler(3, 4)


def test_draws_do_not_depend_on_workers():
    expected = draws(Draws(), epoch=2, workers=0)
    assert torch.equal(expected, draws(Draws(), epoch=2, workers=1))
    assert torch.equal(expected, draws(Draws(), epoch=2, workers=2))
    assert len(expected[:, 1:].unique()) == 36


def test_draws_differ_between_epochs_seeds_and_passages():
    columns = [
        draws(Draws(), epoch=1, workers=0, passages=2)[:, 3],
        draws(Draws(), epoch=2, workers=0)[:, 3],
        draws(Draws(), epoch=1, workers=0, seed=1)[:, 3],
    ]
    assert len(torch.cat(columns).unique()) == 4 * 12


def test_data_sets_that_load_whole_batches():
    first = draws(WholeBatches(), epoch=1, workers=0)
    assert torch.equal(first, draws(WholeBatches(), epoch=1, workers=1))
    assert first[:, 0].tolist() == list(range(12)) and len(first[:, 1:].unique()) == 36


def test_loading_in_the_main_process_leaves_the_global_generators_alone():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    draws(Draws(), epoch=1, workers=0)
    draws(WholeBatches(), epoch=1, workers=0)
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


def test_epoch_is_handed_on_to_samplers_that_want_it():
    inner = DistributedSampler(range(8), num_replicas=1, rank=0)
    assert SeededBatches(BatchSampler(inner, 2, True)).set_epoch(5) is True and inner.epoch == 5
    assert SeededBatches(BatchSampler(range(8), 2, True)).set_epoch(5) is False
