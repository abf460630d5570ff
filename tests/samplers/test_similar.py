"""Dynamic similarity sampling: anchors with the places that look most like them, drawn as on the ground."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import normalize

from geodtr_plugin.samplers import GeoNeighbourBatchSampler, NeighbourBatchSampler, SimilarBatchSampler


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def round_a_circle(num):
    """Embeddings whose similarity falls with the distance of their numbers round a circle.

    The references are turned a little, by less than half a step, so that no two are equally similar to a query.
    """
    angle = 2 * torch.pi * torch.arange(num) / num
    return tuple(torch.stack([(angle + by).cos(), (angle + by).sin()], dim=1).float() for by in (0.0, 0.3 / num))


def away(rows, anchor, num):
    """Steps round the circle from the anchor."""
    steps = np.abs(np.asarray(rows) - anchor)
    return np.minimum(steps, num - steps)


def test_a_batch_is_hubs_with_the_places_that_look_like_them():
    sampler = SimilarBatchSampler(np.arange(400), 8, neighbour_select=7, neighbour_range=20)
    sampler.update(*round_a_circle(400))
    for epoch in range(4):
        batches = epoch_of(sampler, epoch)
        anchor, near, far = batches[0][0], batches[0][1:4], batches[0][4:]
        assert sorted(away(near, anchor, 400)) == [1, 1, 2]
        assert len(far) == 4 and set(away(far, anchor, 400)) <= set(range(2, 11))
        assert sorted({row for batch in batches for row in batch}) == list(range(400))
    lonely = SimilarBatchSampler(np.arange(400), 8, neighbour_select=0)
    lonely.update(*round_a_circle(400))
    spread = [away(batch, batch[0], 400).mean() for batch in epoch_of(lonely, 1)]
    assert np.mean(spread) > 70


def test_it_is_the_querys_view_of_the_references_that_counts():
    query, reference = round_a_circle(100)
    sampler = SimilarBatchSampler(np.arange(100), 4, neighbour_select=2, neighbour_range=2)
    sampler.update(query, reference.roll(30, dims=0))  # reference i is where i - 30 was
    for epoch in range(9):
        first = epoch_of(sampler, epoch)[0]
        assert sorted(away(first[1:3], (first[0] + 30) % 100, 100)) == [0, 1]


def test_neighbours_by_looks_are_drawn_as_neighbours_on_the_ground_are():
    angle = np.linspace(0, np.pi, 200) ** 1.1  # along a half circle, all distances different
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ground = GeoNeighbourBatchSampler(points * 1000, "metres", np.arange(200), 10, seed=4)
    looks = SimilarBatchSampler(np.arange(200), 10, seed=4)
    looks.update(points, points)
    assert isinstance(ground, NeighbourBatchSampler) and isinstance(looks, NeighbourBatchSampler)
    assert (looks.table[:, :10] == ground.table[:, :10]).all()
    assert epoch_of(looks, 2) == epoch_of(ground, 2)


def test_ground_first_then_looks():
    points = np.random.default_rng(0).random((60, 2)) * 500
    first = GeoNeighbourBatchSampler(points, "metres", np.arange(60), 6, seed=2)
    sampler = SimilarBatchSampler(np.arange(60), 6, seed=2, coordinates=points, kind="metres")
    assert epoch_of(sampler, 1) == epoch_of(first, 1)
    assert len(sampler) == len(first)
    query, reference = round_a_circle(60)
    sampler.update(query, reference)
    assert (away(sampler.table[:, 0], np.arange(60), 60) == 1).all()
    assert epoch_of(sampler, 1) != epoch_of(first, 1)


def test_a_hub_that_was_not_seen_brings_no_one():
    query, reference = round_a_circle(80)
    query[::2] = torch.nan
    sampler = SimilarBatchSampler(np.arange(80), 8, neighbour_select=4, neighbour_range=4)
    sampler.update(query, reference)
    assert (sampler.table[::2] == -1).all() and (sampler.table[1::2] >= 0).all()
    for epoch in range(5):
        assert sorted(row for batch in epoch_of(sampler, epoch) for row in batch) == list(range(80))


def test_each_query_of_a_place_has_neighbours_of_its_own():
    generator = torch.Generator().manual_seed(0)
    reference = normalize(torch.randn(30, 6, generator=generator)).repeat_interleave(2, dim=0)
    query = normalize(torch.randn(60, 6, generator=generator))
    sampler = SimilarBatchSampler(np.arange(60) // 2, 5)
    sampler.update(query, reference)
    scores = query @ reference[::2].T
    scores[torch.arange(60), torch.arange(60) // 2] = -2
    assert (torch.from_numpy(sampler.table) == scores.argsort(dim=1, descending=True)[:, :5]).all()
    for batch in epoch_of(sampler, 1):
        assert len({row // 2 for row in batch}) == 5
