"""Global mining: who becomes whose partner, what must not meet all the same, and that a resumed run goes on alike."""

from __future__ import annotations

import pickle
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from geodtr_plugin.datasets import ImageArray, Split
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.samplers import (
    DisjointTilesBatchSampler,
    GeoNeighbourBatchSampler,
    HardBatchSampler,
    PlaceBatchSampler,
    SimilarBatchSampler,
    build_sampler,
)
from geodtr_plugin.samplers.disjoint import Conflicts
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.ragged import Ragged


def embeddings(num, seed=0, size=8):
    """Query and reference of every pair, alike but not equal."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(num, size, generator=generator)
    return tuple(normalize(shared + 0.5 * torch.randn(num, size, generator=generator)) for _ in range(2))


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def town(side, pairs, seed=0):
    """Places (positive tiles) of cameras in a grid of tiles that overlap by half, and the four tiles around each."""
    generator = np.random.default_rng(seed)
    corner, nearer = generator.integers(0, side - 1, (pairs, 2)), generator.integers(0, 4, pairs)
    tiles = np.stack([(corner[:, 0] + a) * side + corner[:, 1] + b for a in (0, 1) for b in (0, 1)], axis=1)
    return tiles[np.arange(pairs), nearer], tiles


def slow_table(places, query, reference, count, left_out):
    """The most similar places, one similarity after another; every place has one pair."""
    table = np.full((len(query), count), -1)
    for row, vector in enumerate(query.double()):
        allowed = [
            other for other in range(len(places))
            if other not in left_out[row] and not torch.isnan(reference[other]).any()
        ]  # fmt: skip
        if not torch.isnan(vector).any():
            scores = torch.nn.functional.cosine_similarity(vector[None], reference[allowed].double())
            best = [allowed[i] for i in scores.argsort(descending=True)[:count]]
            table[row, : len(best)] = best
    return table


def test_the_table_is_that_of_the_similarities_without_ones_own_place():
    query, reference = embeddings(60)
    query[5], reference[9] = torch.nan, torch.nan
    sampler = HardBatchSampler(np.arange(60) * 3 - 7, 6, top=10)
    sampler.update(query, reference)
    assert sampler.table.dtype == np.int32
    assert (sampler.table == slow_table(range(60), query, reference, 10, [[row] for row in range(60)])).all()


def test_places_that_share_a_tile_are_no_partners():
    places, tiles = town(5, 40)
    conflicts = Conflicts(places, Ragged.from_lists(tiles.tolist()))
    for pair, found in enumerate(conflicts.no_partners()):
        sharing = {conflicts.places[other] for other in range(40) if {*tiles[pair]} & {*tiles[other]}}
        assert len({*found}) == len(found) and {*found} == sharing
    sampler = HardBatchSampler(places, 2, top=5, tiles=Ragged.from_lists(tiles.tolist()))
    sampler.update(*embeddings(40))
    assert all(not {*row} & {*out} for row, out in zip(sampler.table, conflicts.no_partners()))
    assert (sampler.table >= 0).any(axis=1).sum() > 20


def test_every_second_pair_is_one_that_the_first_is_confused_with():
    query, reference = embeddings(400)
    sampler = HardBatchSampler(np.arange(400), 8, top=20)
    sampler.update(query, reference)
    batches = epoch_of(sampler, 1)
    hard = [[batch[4 + i] in sampler.table[batch[i]] for i in range(4)] for batch in batches]
    assert np.mean(hard[:35]) > 0.97 and np.mean(hard) > 0.85  # fewer where most pairs are used
    similar = [(query[batch[:4]] * reference[batch[4:]]).sum(dim=1).mean().item() for batch in batches]
    assert np.mean(similar) > 0.5
    random = HardBatchSampler(np.arange(400), 8)
    similar = [(query[batch[:4]] * reference[batch[4:]]).sum(dim=1).mean().item() for batch in epoch_of(random, 1)]
    assert abs(np.mean(similar)) < 0.1
    ranks = [list(sampler.table[batch[i]]).index(batch[4 + i]) for batch in batches[:25] for i in range(4)]
    assert 5 < np.mean(ranks) < 14 and len({*ranks}) > 12  # any of the twenty, not the first


def test_pairs_not_seen_yet_are_drawn_at_random():
    query, reference = embeddings(100)
    query[::2], reference[::2] = torch.nan, torch.nan
    sampler = HardBatchSampler(np.arange(100), 10, top=5)
    sampler.update(query, reference)
    assert (sampler.table[::2] == -1).all() and (sampler.table[1::2] % 2 == 1).all()
    batches = epoch_of(sampler, 1)
    assert sorted(row for batch in batches for row in batch) == list(range(100))
    sampler.update(torch.full((100, 4), torch.nan), torch.full((100, 4), torch.nan))
    assert sorted(row for batch in epoch_of(sampler, 2) for row in batch) == list(range(100))


def test_a_pool_is_drawn_anew_with_every_table():
    query, reference = embeddings(200)
    sampler = HardBatchSampler(np.arange(200), 8, top=10, pool=30)
    pools = []
    for _ in range(3):
        sampler.update(query, reference)
        pools.append(frozenset(sampler.table[sampler.table >= 0].tolist()))
    assert all(25 <= len(pool) <= 30 for pool in pools) and len({*pools}) == 3


def test_one_of_the_references_of_a_place_stands_for_it():
    places = np.repeat(np.arange(20), 3)
    query, reference = embeddings(60)
    reference[0:2] = torch.nan  # place 0 has been seen once, place 1 never
    reference[3:6] = torch.nan
    sampler = HardBatchSampler(places, 4, top=30)
    sampler.update(query, reference)
    assert [sorted(row[row >= 0]) for row in sampler.table[:3]] == [list(range(2, 20))] * 3
    assert sorted(row for row in sampler.table[10] if row >= 0) == [0, 2, *range(4, 20)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 7), st.booleans(), st.sampled_from(["hard", "similar"]))
def test_what_holds_in_every_epoch(seed, size, overlap, kind):
    places, tiles = town(6, 48, seed)
    tiles = tiles if overlap else places[:, None]
    ragged = Ragged.from_lists(tiles.tolist()) if overlap else None
    make = {"hard": HardBatchSampler, "similar": SimilarBatchSampler}[kind]
    try:
        sampler = make(places, size, seed=seed, tiles=ragged)
    except UserError as error:
        assert "Choose a" in str(error)
        return
    for epoch in range(3):
        batches = epoch_of(sampler, epoch)
        rows = [row for batch in batches for row in batch]
        assert len(batches) == len(sampler) and {len(batch) for batch in batches} == {size}
        assert len({*rows}) == len(rows) and {*rows} <= {*range(48)} and all(type(row) is int for row in rows)
        for batch in batches:
            assert all(not {*tiles[one]} & {*tiles[other]} for one, other in combinations(batch, 2))
        sampler.update(*embeddings(48, seed + epoch))


def test_a_town_so_dense_that_pairs_are_left_over_keeps_most_partners(monkeypatch):
    places, tiles = town(12, 600)
    sampler = HardBatchSampler(places, 12, top=10, tiles=Ragged.from_lists(tiles.tolist()))
    sampler.update(*embeddings(600))
    lengthened, missing = sampler._lengthened, []
    monkeypatch.setattr(
        sampler, "_lengthened", lambda drawn, *rest: (missing.append(49 - len(drawn)), lengthened(drawn, *rest))[1]
    )
    first = {str(batch) for batch in sampler._first}
    for epoch in range(8):
        batches = epoch_of(sampler, epoch)
        assert len(batches) == len(sampler) == 49
        assert not first & {str(batch) for batch in batches}  # not the emergency exit of the base class
        found = [sampler.conflicts.places[b[6 + i]] in sampler.table[b[i]] for b in batches for i in range(6)]
        assert np.mean(found[: len(found) // 2]) > 0.9
    assert max(missing) > 0 and len(missing) == 8  # so that the above is about more than luck


@pytest.mark.parametrize(
    "make",
    [
        lambda: HardBatchSampler(np.arange(90), 8, top=12, pool=50, seed=3),
        lambda: SimilarBatchSampler(np.arange(90) // 2, 8, seed=3),
        lambda: SimilarBatchSampler(np.arange(90), 8, seed=3, coordinates=np.random.default_rng(0).random((90, 2))),
    ],
)
def test_a_resumed_run_draws_the_same_batches(make, tmp_path):
    sampler, other = make(), make()
    before = epoch_of(sampler, 1)
    fresh = sampler.state_dict()
    sampler.update(*embeddings(90))
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    third = epoch_of(sampler, 3)
    sampler.update(*embeddings(90, seed=1))
    fourth = epoch_of(sampler, 4)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.random.seed(5)
    assert epoch_of(pickle.loads(pickle.dumps(other)), 3) == epoch_of(other, 3) == third != before
    other.update(*embeddings(90, seed=1))
    assert epoch_of(other, 4) == fourth
    other.load_state_dict(fresh)
    assert epoch_of(other, 1) == before
    with pytest.raises(ValueError, match="table of neighbours"):
        HardBatchSampler(np.arange(91), 8).load_state_dict(sampler.state_dict())


def test_the_first_epochs_are_a_plain_shuffle():
    hard, plain = HardBatchSampler(np.arange(40) // 2, 8, seed=1), PlaceBatchSampler(np.arange(40) // 2, 8, seed=1)
    assert [epoch_of(hard, epoch) for epoch in (1, 2)] == [epoch_of(plain, epoch) for epoch in (1, 2)]


def test_real_numbers_of_pairs_leave_few_over():
    generator = np.random.default_rng(0)
    places, tiles = town(230, 52_609)
    overlapping = Ragged.from_counts(tiles.ravel(), np.full(len(tiles), 4))
    for labels, overlap, size in ((np.arange(35_532), None, 32), (places, overlapping, 16)):
        sampler = HardBatchSampler(labels, size, tiles=overlap)
        sampler.table = generator.integers(0, len(sampler.conflicts.pairs), (len(labels), 100)).astype(np.int32)
        batches = sampler.draw(generator)
        assert len(batches) >= 0.995 * (len(labels) // size)


def make_index(places, ignored=None, coordinates=None, of="references"):
    pixels = np.zeros((len(places), 2, 2, 3), np.uint8)
    located = {"coordinates": coordinates, "coordinate_kind": None if coordinates is None else "metres"}
    num = int(max(places)) + 1 if ignored is None else 1 + max(max(places), *(max(row) for row in ignored))
    return Split(
        name="synth-suburb", split="train",
        queries=ImageArray(pixels, **(located if of == "queries" else {})),
        references=ImageArray(np.zeros((num, 2, 2, 3), np.uint8), **(located if of == "references" else {})),
        pairs=np.stack([np.arange(len(places)), places], axis=1),
        query_places=np.asarray(places), reference_places=np.arange(num),
        truth=Truth.from_lists(np.asarray(places)[:, None], ignored),
    )  # fmt: skip


def test_samplers_go_by_their_names():
    index = make_index(np.arange(20), coordinates=np.random.default_rng(0).random((20, 2)) * 100)
    assert build_sampler("shuffle", index, 4) is None and build_sampler("auto", index, 4) is None
    assert isinstance(build_sampler("auto", make_index(np.arange(20) // 2), 4), PlaceBatchSampler)
    kinds = {"geo": GeoNeighbourBatchSampler, "hard": HardBatchSampler, "similar": SimilarBatchSampler}
    for name, kind in kinds.items():
        sampler = build_sampler(name, index, 4, 7)
        assert type(sampler) is kind and (sampler.seed, sampler.batch_size) == (7, 4)
        assert hasattr(sampler, "update") == (name != "geo")
    hard = build_sampler("hard", index, 4, args=dict(pool=9, top=5))
    assert (hard.pool, hard.table_length) == (9, 5)
    both, geo = build_sampler("geo+similar", index, 4, 7), build_sampler("geo", index, 4, 7)
    assert epoch_of(both, 1) == epoch_of(geo, 1) != epoch_of(build_sampler("similar", index, 4, 7), 1)
    both.update(*embeddings(20))
    assert epoch_of(both, 1) != epoch_of(geo, 1)
    chosen = build_sampler("geo", index, 4, args=dict(neighbours=1, neighbour_range=3))
    assert chosen.table.shape == (20, 3)
    by_query = make_index(np.arange(20), coordinates=index.references.coordinates, of="queries")
    assert epoch_of(build_sampler("geo", by_query, 4, 7), 1) == epoch_of(geo, 1)


@pytest.mark.parametrize("name", ["auto", "geo", "hard", "similar", "geo+similar"])
def test_tiles_that_overlap_are_kept_apart_by_all_of_them(name):
    places, tiles = town(9, 80)
    ignored = [[tile for tile in row if tile != place] for row, place in zip(tiles.tolist(), places)]
    at = np.stack(np.divmod(np.arange(81), 9), axis=1).astype(float)
    index = make_index(places, ignored, at[: 1 + max(max(places), *(max(row) for row in ignored))])
    sampler = build_sampler(name, index, 4)
    assert isinstance(sampler, DisjointTilesBatchSampler) == (name == "auto")
    for epoch in (1, 2):
        for batch in epoch_of(sampler, epoch):
            assert len({*tiles[batch].ravel()}) == 16
        if hasattr(sampler, "update"):
            sampler.update(*embeddings(80))


def test_impossible_requests_are_sentences():
    index = make_index(np.arange(20))
    with pytest.raises(UserError, match="no sampler 'simlar'. Did you mean 'similar'"):
        build_sampler("simlar", index, 4)
    for name in ("geo", "geo+similar"):
        with pytest.raises(UserError, match="synth-suburb has no coordinates here. Choose --sampler similar"):
            build_sampler(name, index, 4)
    at = np.zeros((20, 2))
    at[3:5] = np.nan
    with pytest.raises(UserError, match="2 of the 20 training pairs .* have no coordinates"):
        build_sampler("geo", make_index(np.arange(20), coordinates=at), 4)
    with pytest.raises(UserError, match=r"bring 5 neighbours \(--sampling.neighbours\) out of the 3 .* to 5"):
        build_sampler("similar", index, 4, args=dict(neighbours=5, neighbour_range=3))
    with pytest.raises(UserError, match=r"bring 8 neighbours \(half a batch\) out of the 3"):
        build_sampler("similar", index, 16, args=dict(neighbour_range=3))
    with pytest.raises(UserError, match="sampling.neighbours is -1"):
        build_sampler("similar", index, 4, args=dict(neighbours=-1))
    with pytest.raises(UserError, match="sampling.top is 0"):
        build_sampler("hard", index, 4, args=dict(top=0))
    with pytest.raises(UserError, match="20 places, too few for a batch of 21 .* at most 20"):
        build_sampler("hard", index, 21)
    with pytest.raises(UserError, match="no 2 were found .* share an aerial tile"):
        HardBatchSampler(np.arange(3), 2, tiles=Ragged.from_lists([[7], [7], [7]]))
    with pytest.raises(ValueError, match="one row a pair is needed, 20, but there are 19"):
        HardBatchSampler(np.arange(20), 4).update(torch.zeros(19, 3), torch.zeros(20, 3))
    with pytest.raises(ValueError, match="top and pool"):
        HardBatchSampler(np.arange(20), 4, pool=0)
    with pytest.raises(ValueError, match="20 pairs came with the tiles of 1"):
        HardBatchSampler(np.arange(20), 4, tiles=Ragged.from_lists([[1]]))
