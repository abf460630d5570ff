"""Batches out of several sets: shares, passages, places, and that interruption or adding a set moves nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.datasets import ImageArray, Split, join_splits
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.harness.build import build_exclusion
from geodtr_plugin.samplers import SimilarBatchSampler, build_joint_sampler
from geodtr_plugin.samplers.joint import pairs_in_batches
from geodtr_plugin.samplers.seeded_loading import SeededBatches
from geodtr_plugin.utils.errors import UserError


def make_split(name: str, pairs: int, located: bool = False, repeats: int = 1) -> Split:
    """A split whose places come `repeats` times; located ones lie along a street, in random order."""
    places = np.random.default_rng(pairs).permutation(pairs) // repeats
    at = np.stack([places * 10.0, np.zeros(pairs)], axis=1) if located else None
    blank = np.zeros((pairs, 1, 1, 3), np.uint8)
    images = ImageArray(blank, coordinates=at, coordinate_kind="metres" if located else None)
    rows = np.arange(pairs)
    truth = Truth.from_labels(places, places)
    return Split(name, "train", images, images, np.stack([rows, rows], 1), places, places, truth)


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


numbers = st.lists(st.integers(1, 10_000), min_size=2, max_size=8)


@settings(max_examples=200, deadline=None)
@given(numbers, st.integers(1, 300), st.integers(2, 200))
def test_mixed_batches_hold_the_shares_to_one_pair_and_their_mean_is_exact(shares, batches, size):
    counts = pairs_in_batches(shares, batches, size, mixed=True)
    exact = np.array(shares) * size / sum(shares)
    assert counts.shape == (batches, len(shares)) and (counts.sum(axis=1) == size).all()
    assert (np.abs(counts - exact) < 1 + 1e-9).all()
    assert (np.abs(counts.mean(axis=0) - exact) <= 1 / batches + 1e-9).all()


@settings(max_examples=200, deadline=None)
@given(numbers, st.integers(1, 300))
def test_batches_of_one_set_hold_the_shares_to_one_batch(shares, batches):
    counts = pairs_in_batches(shares, batches, 8, mixed=False)
    assert (np.count_nonzero(counts, axis=1) == 1).all() and (counts.sum(axis=1) == 8).all()
    assert (np.abs(counts.sum(axis=0) / 8 - np.array(shares) * batches / sum(shares)) <= 1 + 1e-9).all()


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("shares", [None, (2, 1, 1), (1, 5, 20)])
def test_every_pair_of_a_set_comes_as_often_as_any_other(mixed, shares):
    splits = [make_split("a", 60), make_split("b", 40), make_split("c", 24, located=True)]
    sampler = build_joint_sampler("auto", splits, 8, seed=3, shares=shares, mixed=mixed)
    assert len(sampler) == 124 // 8
    seen: Counter[int] = Counter()
    for epoch in range(40):
        batches = epoch_of(sampler, epoch)
        assert len(batches) == len(sampler) and all(len(set(batch)) == len(batch) == 8 for batch in batches)
        if not mixed:
            assert all(len(set(np.searchsorted([60, 100], batch, side="right"))) == 1 for batch in batches)
        seen.update(row for batch in batches for row in batch)
    for first, stop, pairs in zip((0, 60, 100), (60, 100, 124), sampler.counts.sum(axis=0)):
        times = np.array([seen[row] for row in range(first, stop)])
        assert times.mean() == 40 * pairs / (stop - first)
        assert times.min() > 0.6 * times.mean() and times.max() < 1.5 * times.mean()


def test_the_order_follows_from_seed_and_epoch_alone_and_can_be_entered_anywhere():
    splits = [make_split("a", 60, located=True), make_split("b", 40)]
    one, two = (build_joint_sampler("geo", splits, 8, seed=5, shares=(1, 3)) for _ in range(2))
    expected = [epoch_of(one, epoch) for epoch in range(4)]
    assert expected[0] != expected[1]
    assert [epoch_of(two, epoch) for epoch in (3, 0, 2)] == [expected[i] for i in (3, 0, 2)]
    assert epoch_of(build_joint_sampler("geo", splits, 8, seed=6, shares=(1, 3)), 0) != expected[0]
    batches = SeededBatches(build_joint_sampler("geo", splits, 8, seed=5, shares=(1, 3)), seed=5)
    assert batches.set_epoch(2, first=3)
    assert [[i for _, i in batch] for batch in islice(batches, 4)] == expected[2][3:7]


def test_each_set_has_the_sampler_that_fits_it():
    splits = [make_split("located", 60, located=True), make_split("plain", 40), make_split("repeated", 40, repeats=2)]
    sampler = build_joint_sampler("geo", splits, 24)
    kinds = [type(own).__name__ for own in sampler.samplers]
    assert kinds == ["GeoNeighbourBatchSampler", "BatchSampler", "PlaceBatchSampler"]
    assert sampler.places_differ
    joined = join_splits(splits)
    places = joined.query_places[joined.pairs[:, 0]]
    for batch in epoch_of(sampler, 0):
        assert len(set(places[batch])) == len(batch)
    own = [splits[0].query_places[[row for row in batch if row < 60]] for batch in epoch_of(sampler, 0)]
    assert np.mean([np.diff(np.sort(places)).min() for places in own]) <= 1.5  # neighbours meet
    assert not build_joint_sampler("shuffle", splits, 24).places_differ
    with pytest.raises(UserError, match="plain has no coordinates here"):
        build_joint_sampler("geo", splits[1:], 24)


def test_what_cannot_be_filled_is_named():
    splits = [make_split("large", 500), make_split("small", 3), make_split("twice", 8, repeats=8)]
    with pytest.raises(UserError, match="small train: 3 pairs.* does not fill 4 pairs of a batch"):
        build_joint_sampler("auto", splits[:2], 8, shares=(1, 1))
    with pytest.raises(UserError, match="small gets nothing of an epoch of 62 batches of 8 pairs"):
        build_joint_sampler("auto", splits[:2], 8, shares=(1e6, 1))
    with pytest.raises(UserError, match="twice, 4 pairs a batch: .*too few for a batch of 4"):
        build_joint_sampler("auto", [splits[0], splits[2]], 8, shares=(1, 1))
    assert (build_joint_sampler("auto", splits[:2], 8).counts[:, 1] <= 1).all()


def test_samplers_that_follow_the_network_get_their_own_rows_and_keep_their_state():
    splits = [make_split("a", 30), make_split("b", 20)]
    embeddings = torch.nn.functional.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    sampler = build_joint_sampler("similar", splits, 10)
    assert sampler.follows == "measurement"
    before = epoch_of(sampler, 1)
    sampler.update(embeddings, embeddings)
    after = epoch_of(sampler, 1)
    assert after != before
    alone = SimilarBatchSampler(splits[1].query_places, 4, seed=sampler.samplers[1].seed)
    alone.update(embeddings[30:], embeddings[30:])
    assert np.array_equal(alone.table, sampler.samplers[1].table)
    again = build_joint_sampler("similar", splits, 10)
    again.load_state_dict(sampler.state_dict())
    assert epoch_of(again, 1) == after


def test_pairs_of_all_sets_are_spread_over_a_batch():
    """Processes and micro-batches take neighbouring rows, which should not be those of one set."""
    sampler = build_joint_sampler("auto", [make_split("a", 64), make_split("b", 64)], 16)
    halves = [np.mean(np.array(batch[:8]) < 64) for epoch in range(8) for batch in epoch_of(sampler, epoch)]
    assert 0.4 < np.mean(halves) < 0.6 and 0 < np.std(halves) < 0.25


def test_neighbouring_places_of_one_set_are_left_to_its_own_rule():
    splits = [make_split(name, 6, located=True) for name in "abc"]
    ruled = [replace(split, exclusion_radius=radius) for split, radius in zip(splits, (15.0, 25.0, None))]
    joined = join_splits(ruled)
    labels = torch.from_numpy(joined.query_places)
    got = build_exclusion(joined, 1)(labels, labels)
    for i in range(18):
        for j in range(18):
            metres = 10 * abs(int(labels[i]) - int(labels[j]))
            near = i // 6 == j // 6 and 0 < metres < (15, 25, 0)[i // 6]
            assert bool(got[i, j]) == near, (i, j)
