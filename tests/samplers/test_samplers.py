"""Batch samplers: what must not meet, how many batches, which neighbours, and that trainers accept them."""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.trainers import TwoStreamMetricLoss
from torch.utils.data import BatchSampler

from geodtr_plugin.datasets import ImageArray, Split
from geodtr_plugin.evaluation.truth import Ragged, Truth
from geodtr_plugin.samplers import (
    DisjointTilesBatchSampler,
    GeoNeighbourBatchSampler,
    PlaceBatchSampler,
    default_sampler,
)
from geodtr_plugin.samplers.by_name import tiles_of_pairs
from geodtr_plugin.samplers.disjoint import spread_evenly
from geodtr_plugin.samplers.neighbours import nearest_others
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.geo import to_metres

labels = st.lists(st.integers(0, 7).map(lambda place: 3 * place - 2**40), min_size=2, max_size=60)
tile_lists = st.lists(st.lists(st.integers(0, 30), max_size=4, unique=True), min_size=2, max_size=60)


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def check_epochs(sampler, num_pairs, epochs=(0, 1, 2, 7)):
    """What holds for all of them; gives the batches of the epochs."""
    assert isinstance(sampler, BatchSampler)
    drawn = [epoch_of(sampler, epoch) for epoch in epochs]
    for batches in drawn:
        rows = [row for batch in batches for row in batch]
        assert len(batches) == len(sampler) > 0
        assert {len(batch) for batch in batches} == {sampler.batch_size}
        assert len(set(rows)) == len(rows) and set(rows) <= set(range(num_pairs))
        assert all(type(row) is int for row in rows)
    return drawn


def most_batches(places, size):
    """The largest number of batches in which no place comes twice: a place fills at most one seat in each."""
    _, counts = np.unique(places, return_counts=True)
    return max(k for k in range(len(places) // size + 1) if np.minimum(counts, k).sum() >= k * size)


@settings(max_examples=150, deadline=None)
@given(labels, st.integers(2, 8), st.integers(0, 5))
def test_no_place_comes_twice_in_a_batch(places, size, seed):
    most = most_batches(places, size)
    if not most:
        with pytest.raises(UserError, match=f"show {len(set(places))} places.*at most {len(set(places))}"):
            PlaceBatchSampler(np.array(places), size, seed)
        return
    sampler = PlaceBatchSampler(np.array(places), size, seed)
    assert len(sampler) <= most
    for batches in check_epochs(sampler, len(places)):
        assert all(len({places[row] for row in batch}) == size for batch in batches)


@pytest.mark.parametrize(("size", "most"), [(32, 1182), (512, 73), (701, 54)])
def test_next_to_no_pair_of_repeated_places_is_left_over(size, most):
    places = np.repeat(np.arange(701), 54)  # University-1652: 701 buildings, 54 drone images each
    sampler = PlaceBatchSampler(places, size)
    assert most_batches(places, size) == most == len(sampler)
    places = np.repeat(np.arange(300), np.random.default_rng(0).integers(1, 100, 300))
    assert len(PlaceBatchSampler(places, 128)) >= 0.98 * most_batches(places, 128)


def test_the_rows_of_a_place_lie_evenly_apart_at_random():
    groups = np.random.default_rng(3).permutation(np.repeat([0, 1, 2], [12, 12, 1200]))
    orders = [spread_evenly(groups, np.random.default_rng(seed)) for seed in range(40)]
    assert all(sorted(order) == list(range(1224)) for order in orders)
    moments = np.stack([np.flatnonzero(groups[order] == 0) for order in orders]) / 1224
    assert (np.abs(moments - (np.arange(12) + 0.5) / 12) < 0.06).all()  # each in its twelfth of the epoch
    assert moments.std(axis=0).min() > 0.01
    first = [order[groups[order] == 0][0] for order in orders]
    assert len(set(first)) > 6  # and not always the same row


@settings(max_examples=150, deadline=None)
@given(tile_lists, st.integers(2, 5), st.integers(0, 5))
def test_no_tile_comes_twice_in_a_batch(lists, size, seed):
    try:
        sampler = DisjointTilesBatchSampler(Ragged.from_lists(lists), size, seed)
    except UserError as error:
        assert "share an aerial tile" in str(error)
        # only where most pairs are in each other's way: they are, if no second pair fits beside some pair
        assert len(lists) < size * (1 + max(sum(bool({*a} & {*b}) for b in lists) for a in lists))
        return
    for batches in check_epochs(sampler, len(lists)):
        for batch in batches:
            assert all(not {*lists[one]} & {*lists[other]} for one, other in combinations(batch, 2))


def vigor_like(side, pairs, seed=0):
    """Cameras in a square grid of tiles that overlap by half: each sees the four tiles around it."""
    place = np.random.default_rng(seed).uniform(0, side - 1, (pairs, 2))
    corner = np.floor(place).astype(int)
    nearest = np.rint(place).astype(int)
    tiles = np.stack([(corner[:, 0] + a) * side + corner[:, 1] + b for a in (0, 1) for b in (0, 1)], axis=1)
    positive = nearest[:, 0] * side + nearest[:, 1]
    return place, positive, np.array([[p, *(t for t in row if t != p)] for p, row in zip(positive, tiles)])


@pytest.mark.slow
def test_vigors_size_is_dealt_out_completely():
    place, positive, tiles = vigor_like(300, 52_609)
    begun = time.process_time()
    sampler = DisjointTilesBatchSampler(Ragged.from_counts(tiles.ravel(), np.full(len(tiles), 4)), 16)
    batches = np.array(epoch_of(sampler, 1))
    assert time.process_time() - begun < 4  # measured: 0.3 s
    assert batches.shape == (3288, 16) and len(np.unique(batches)) == batches.size
    assert all(len(np.unique(tiles[batch])) == 64 for batch in batches)
    begun = time.process_time()
    sampler = GeoNeighbourBatchSampler(place * 36, "metres", positive, 128)
    batches = np.array(epoch_of(sampler, 1))
    assert time.process_time() - begun < 8  # measured: 0.8 s
    assert len(batches) >= 0.99 * (52_609 // 128)
    assert all(len(np.unique(positive[batch])) == 128 for batch in batches)


@pytest.mark.parametrize(("side", "size"), [(9, 8), (6, 4), (5, 3)])
def test_a_dense_town_has_as_many_batches_in_every_epoch(side, size):
    _, _, tiles = vigor_like(side, 3 * side * size)
    sampler = DisjointTilesBatchSampler(Ragged.from_counts(tiles.ravel(), np.full(len(tiles), 4)), size, seed=1)
    assert len(sampler) >= 0.75 * 3 * side
    short = [epoch for epoch in range(60) if len(sampler.draw(np.random.default_rng([1, epoch, 0]))) < len(sampler)]
    assert short  # so that the next lines are about more than luck
    drawn = check_epochs(sampler, len(tiles), epochs=range(60))
    assert len({str(batches) for batches in drawn}) == 60


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: PlaceBatchSampler(np.arange(90) // 3, 8, seed),
        lambda seed: DisjointTilesBatchSampler(Ragged.from_lists([[i // 2] for i in range(90)]), 8, seed),
        lambda seed: GeoNeighbourBatchSampler(np.random.default_rng(0).random((90, 2)), "metres", np.arange(90), 8,
                                              seed=seed),
    ],
)  # fmt: skip
def test_the_order_follows_from_seed_and_epoch_alone(make):
    sampler = make(0)
    first, second = epoch_of(sampler, 1), epoch_of(sampler, 2)
    np.random.seed(99)
    assert epoch_of(sampler, 1) == first == epoch_of(make(0), 1) != second
    assert epoch_of(make(1), 1) != first


def haversine(one, other):
    """Metres, from degrees, by the formula as it stands in books."""
    (lat1, lon1), (lat2, lon2) = np.radians(one).T, np.radians(other).T
    a = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6_371_008.8 * np.arcsin(np.sqrt(a))


@pytest.mark.parametrize("span", [0.001, 1.0, 80.0])  # a block, a county, a hemisphere
@pytest.mark.parametrize("centre", [(0.0, 0.0), (64.0, 179.9999), (-37.0, 144.9)])
def test_neighbours_are_those_of_the_haversine_formula_in_radians(span, centre):
    generator = np.random.default_rng(0)
    latlon = np.array(centre) + generator.uniform(-span, span, (60, 2)) * (0.3, 1)
    latlon[:, 1] = (latlon[:, 1] + 180) % 360 - 180
    far = haversine(latlon[:, None].repeat(60, 1).reshape(-1, 2), latlon[None].repeat(60, 0).reshape(-1, 2))
    far = far.reshape(60, 60)
    np.fill_diagonal(far, np.inf)
    assert (nearest_others(to_metres(latlon, "latlon"), 12) == np.argsort(far, axis=1)[:, :12]).all()
    if centre[0]:  # degrees taken for radians, or for a plane, have other neighbours
        degrees = haversine(np.degrees(latlon)[:, None].repeat(60, 1).reshape(-1, 2),
                            np.degrees(latlon)[None].repeat(60, 0).reshape(-1, 2)).reshape(60, 60)  # fmt: skip
        np.fill_diagonal(degrees, np.inf)
        assert (np.argsort(far, axis=1)[:, :12] != np.argsort(degrees, axis=1)[:, :12]).any()
        assert (nearest_others(latlon, 12) != np.argsort(far, axis=1)[:, :12]).any()


def test_straight_lines_in_space_are_the_distances_on_the_ground():
    one = np.array([[48.0, 11.0], [48.0, 11.0], [0.0, 180.0], [90.0, 0.0]])
    other = np.array([[48.0, 11.0003], [48.0002, 11.0], [0.0, -179.9], [89.9, 77.0]])
    straight = np.linalg.norm(to_metres(one, "latlon") - to_metres(other, "latlon"), axis=1)
    np.testing.assert_allclose(straight, haversine(one, other), rtol=1e-6)
    assert to_metres(one, "metres").tolist() == one.tolist()


def test_places_at_one_point_are_neighbours_but_none_is_its_own():
    points = np.zeros((9, 2))
    points[7:] = 5.0
    found = nearest_others(points, 3)
    assert found.shape == (9, 3)
    assert all(row not in others and len(set(others)) == 3 for row, others in enumerate(found.tolist()))
    assert (found[:7] < 7).all() and found[7, 0] == 8
    assert nearest_others(points, 50).shape == (9, 8)


def test_a_batch_is_hubs_with_their_neighbours():
    line = np.stack([np.arange(400.0), np.zeros(400)], axis=1)  # places a metre apart on a road
    sampler = GeoNeighbourBatchSampler(line, "metres", np.arange(400), 8, neighbour_select=7, neighbour_range=20)
    for batches in check_epochs(sampler, 400):
        anchor, near, far = batches[0][0], batches[0][1:4], batches[0][4:]
        distance = np.abs(np.arange(400) - anchor)
        order = [row for row in np.argsort(distance, kind="stable").tolist() if row != anchor]
        assert sorted(distance[near]) == sorted(distance[order[:3]])
        assert set(distance[far]) <= set(distance[order[2:21]])
    assert np.ptp(batches[0]) <= 20 + 1
    lonely = GeoNeighbourBatchSampler(line, "metres", np.arange(400), 8, neighbour_select=0)
    assert np.mean([np.ptp(batch) for batch in epoch_of(lonely, 1)]) > 200


def test_no_pair_is_lost_beside_another_of_its_place():
    places = np.repeat(np.arange(40), 12)
    sampler = GeoNeighbourBatchSampler(places[:, None] * (1.0, 0.0), "metres", places, 40, neighbour_select=2)
    assert len(sampler) == most_batches(places, 40) == 12


@settings(max_examples=100, deadline=None)
@given(labels, st.integers(2, 6), st.integers(0, 5), st.data())
def test_neighbour_batches_hold_no_place_twice(places, size, seed, data):
    places = np.array(places)
    at = np.random.default_rng(seed).integers(0, 4, (len(places), 2))  # many places at one point
    if len(np.unique(places)) < size:
        with pytest.raises(UserError, match="too few for a batch"):
            GeoNeighbourBatchSampler(at, "metres", places, size)
        return
    span = data.draw(st.integers(1, 9))
    sampler = GeoNeighbourBatchSampler(at, "metres", places, size, data.draw(st.integers(0, span)), span, seed)
    for batches in check_epochs(sampler, len(places)):
        assert all(len(set(places[batch])) == size for batch in batches)


def make_index(positive, num_references, ignored=None, pairs=None):
    positive = np.asarray(positive)
    pixels = np.zeros((max(len(positive), num_references), 2, 2, 3), np.uint8)
    return Split(
        name="synth-suburb", split="train",
        queries=ImageArray(pixels[: len(positive)]), references=ImageArray(pixels[:num_references]),
        pairs=np.stack([np.arange(len(positive)), positive], axis=1) if pairs is None else pairs,
        query_places=positive, reference_places=np.arange(num_references),
        truth=Truth.from_lists(positive[:, None], ignored),
    )  # fmt: skip


def test_each_data_set_gets_the_sampler_that_it_needs():
    assert default_sampler(make_index(range(20), 20), 4) is None
    assert default_sampler(make_index(range(20), 20, ignored=[[]] * 20), 4) is None
    assert isinstance(default_sampler(make_index([*range(20), 3], 20), 4), PlaceBatchSampler)
    _, positive, tiles = vigor_like(12, 60)
    index = make_index(positive, 144, ignored=tiles[:, 1:])
    sampler = default_sampler(index, 4, seed=2)
    assert isinstance(sampler, DisjointTilesBatchSampler) and sampler.seed == 2
    assert [set(row) for row in tiles_of_pairs(index)] == [set(row) for row in tiles.tolist()]
    few = make_index(positive, 144, ignored=tiles[:, 1:], pairs=np.stack([[5, 9, 5], positive[[5, 9, 5]]], axis=1))
    assert [set(row) for row in tiles_of_pairs(few)] == [set(row) for row in tiles[[5, 9, 5]].tolist()]


@pytest.mark.parametrize(("trainer", "options"), [(TwoStreamMetricLoss, {}), (CrossViewTrainer, {"progress": False})])
def test_trainers_take_every_batch_of_every_epoch(trainer, options):
    places = np.arange(60) // 2
    drawn, sampler, trunk = [], PlaceBatchSampler(places, 8), torch.nn.Linear(4, 3)
    trainer(
        {"trunk": trunk}, {"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1)}, 8,
        {"metric_loss": TripletMarginLoss()}, [(torch.rand(4), torch.rand(4), int(place)) for place in places],
        mining_funcs={}, sampler=sampler, dataloader_num_workers=0, data_device="cpu",
        end_of_iteration_hook=lambda t: drawn.append(t.epoch), **options,
    ).train(num_epochs=3)  # fmt: skip
    assert [drawn.count(epoch) for epoch in (1, 2, 3)] == [len(sampler)] * 3 == [7] * 3
    assert sampler.epoch == (3 if trainer is CrossViewTrainer else 0)


def test_impossible_requests_are_sentences():
    with pytest.raises(UserError, match="5 places, too few for a batch of 6 .* at most 5"):
        PlaceBatchSampler(np.arange(50) % 5, 6)
    with pytest.raises(UserError, match="no 3 were found .* Choose a smaller batch size"):
        DisjointTilesBatchSampler(Ragged.from_lists([[1, i + 2] for i in range(9)]), 3)
    with pytest.raises(UserError, match="no 3 were found"):
        DisjointTilesBatchSampler(Ragged.from_lists([]), 3)
    with pytest.raises(UserError, match="no negatives"):
        PlaceBatchSampler(np.arange(9), 1)
    at = np.random.default_rng(0).uniform(0, 80, (9, 2))
    with pytest.raises(UserError, match="Latitude comes first"):
        GeoNeighbourBatchSampler(at + (100, 0), "latlon", np.arange(9), 4)
    at[3, 1] = np.nan
    with pytest.raises(UserError, match="Row 3 has no coordinates"):
        GeoNeighbourBatchSampler(at, "latlon", np.arange(9), 4)
    with pytest.raises(ValueError, match="9 pairs came with 8"):
        GeoNeighbourBatchSampler(np.zeros((8, 2)), "metres", np.arange(9), 4)
    with pytest.raises(ValueError, match="neighbour_select"):
        GeoNeighbourBatchSampler(np.zeros((9, 2)), "metres", np.arange(9), 4, neighbour_select=5, neighbour_range=3)
