"""Tuples from cached descriptors, against a loop written from the method's description."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from geodtr_plugin.miners import EmbeddingBank, TupleCacheMiner
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.ragged import Ragged


def town(seed=0, queries=30, references=80):
    """Descriptors of queries and references, and which references are within 10 and within 25 of each query."""
    generator = np.random.default_rng(seed)
    at, there = generator.random((queries, 2)) * 100, generator.random((references, 2)) * 100
    far = np.linalg.norm(at[:, None] - there, axis=2)
    lists = [Ragged.from_lists([np.flatnonzero(row <= radius) for row in far]) for radius in (10, 25)]
    descriptors = [normalize(torch.from_numpy(generator.normal(size=(n, 12)))).float() for n in (queries, references)]
    return descriptors, *lists


def naive(seed, row, visit, query, reference, positives, near, pool, remembered, count):
    """One tuple, step by step: only the random references are drawn as the miner does."""
    distances = [((query[row] - vector) ** 2).sum().item() for vector in reference]
    far = [i for i in range(len(reference)) if i not in near[row]]
    drawn = np.random.default_rng([seed, row, visit]).choice(len(far), min(pool, len(far)), replace=False)
    candidates = {far[i] for i in drawn} | set(remembered)
    return (
        min(positives[row].tolist(), key=lambda i: distances[i]),
        sorted(candidates, key=lambda i: distances[i])[:count],
    )


@pytest.mark.parametrize("pool", [12, 500])
def test_tuples_are_those_of_the_description(pool):
    (query, reference), positives, near = town()
    miner = TupleCacheMiner(positives, near, 80, negatives=5, pool=pool, seed=3)
    assert len(miner.trainable) > 15 and all(len(positives[row]) for row in miner.trainable)
    remembered = {row: [] for row in miner.trainable.tolist()}
    for visit in range(3):
        if visit == 2:
            query, reference = normalize(query + 0.2), normalize(reference + 0.1)
        miner.refresh(query, reference)
        for rows in np.array_split(miner.trainable, 4):
            found = miner.mine(rows)
            assert found.query.tolist() == rows.tolist() and found.negatives.shape == (len(rows), 5)
            for row, positive, negatives in zip(*(part.tolist() for part in found)):
                expected = naive(3, row, visit, query, reference, positives, near, pool, remembered[row], 5)
                assert (positive, negatives) == expected
                remembered[row] = negatives
    # what was remembered matters: with the first pool alone the hardest would have been others
    if pool == 12:
        alone = TupleCacheMiner(positives, near, 80, negatives=5, pool=pool, seed=3)
        alone.load_state_dict({**alone.state_dict(), "visits": torch.full((30,), 2)})
        alone.refresh(query, reference)
        assert (alone.mine(miner.trainable).negatives != [remembered[row] for row in remembered]).any()


def test_random_negatives_are_drawn_evenly_from_what_is_far():
    positives, near = Ragged.from_lists([[2]]), Ragged.from_lists([[2, 3, 9]])
    miner = TupleCacheMiner(positives, near, 12, negatives=3, pool=3)
    miner.refresh(torch.ones(1, 2), torch.ones(12, 2))
    counts = np.zeros(12, int)
    for _ in range(600):
        counts[miner._candidates(0)] += 1
        miner._visits += 1
    assert set(np.flatnonzero(counts == 0)) == {2, 3, 9}
    assert counts[counts > 0].min() > 150 and counts.max() < 250  # 200 expected


def test_tuples_do_not_depend_on_the_batches(monkeypatch):
    (query, reference), positives, near = town(seed=1)
    one, other = (TupleCacheMiner(positives, near, 80, negatives=5, pool=20) for _ in range(2))
    one.refresh(query, reference)
    other.refresh(query.numpy(), reference.numpy())
    whole = one.mine(one.trainable)
    monkeypatch.setattr("geodtr_plugin.miners.tuple_cache._BYTES", 1)  # a query at a time
    parts = [other.mine(rows) for rows in np.array_split(one.trainable[::-1], 5)]
    assert np.array_equal(whole.negatives, np.concatenate([part.negatives for part in parts])[::-1])
    assert np.array_equal(whole.positive, np.concatenate([part.positive for part in parts])[::-1])


def test_a_resumed_run_mines_the_same_tuples(tmp_path):
    (query, reference), positives, near = town(seed=2)
    miner, other = (TupleCacheMiner(positives, near, 80, negatives=5, pool=20, seed=1) for _ in range(2))
    miner.refresh(query, reference)
    miner.mine(miner.trainable)
    torch.save(miner.state_dict(), tmp_path / "miner.pt")
    state, again = miner.state_dict(), pickle.loads(pickle.dumps(miner))
    second = miner.mine(miner.trainable).negatives
    assert state["visits"].max() == 1  # a state does not go on with the miner
    other.refresh(query, reference)
    other.load_state_dict(torch.load(tmp_path / "miner.pt", weights_only=True))
    assert (other.mine(miner.trainable).negatives == second).all()
    assert (again.mine(miner.trainable).negatives == second).all()
    with pytest.raises(ValueError, match="remembered negatives"):
        TupleCacheMiner(positives, near, 80, negatives=6).load_state_dict(state)


def test_a_bank_that_is_not_full_yet_ranks_unseen_references_last():
    positives, near = Ragged.from_lists([[1, 2]]), Ragged.from_lists([[1, 2]])
    bank = EmbeddingBank(1, num_references=6)
    bank.write([0], query=torch.tensor([[1.0, 0.0]]))
    bank.write([2, 4], reference=torch.tensor([[-1.0, 0.0], [-0.6, 0.8]]))
    miner = TupleCacheMiner(positives, near, 6, negatives=3)
    miner.refresh(bank.query, bank.reference)
    found = miner.mine([0])
    assert found.positive.tolist() == [2] and found.negatives[0, 0] == 4
    assert set(found.negatives[0, 1:]) <= {0, 3, 5}


def test_impossible_requests_are_errors():
    positives, near = Ragged.from_lists([[0], []]), Ragged.from_lists([[0, 1], [2]])
    miner = TupleCacheMiner(positives, near, 6, negatives=4)
    assert miner.trainable.tolist() == [0]
    with pytest.raises(RuntimeError, match="refresh"):
        miner.mine([0])
    with pytest.raises(ValueError, match="2 queries and 6 references came with 2 and 5"):
        miner.refresh(torch.zeros(2, 3), torch.zeros(5, 3))
    miner.refresh(torch.ones(2, 3), torch.ones(6, 3))
    with pytest.raises(UserError, match="Query 1 has no potential positive"):
        miner.mine([0, 1])
    with pytest.raises(UserError, match="Query 0 lies far from 4 references only, too few for 5"):
        TupleCacheMiner(positives, near, 6, negatives=5)
    with pytest.raises(ValueError, match="negatives must be 1 to pool"):
        TupleCacheMiner(positives, near, 6, negatives=5, pool=4)
    with pytest.raises(ValueError, match="2 queries have positives, 1 have"):
        TupleCacheMiner(positives, near.take([0]), 6)
