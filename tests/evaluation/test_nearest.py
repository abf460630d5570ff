"""Nearest vectors by brute force, against one similarity after another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geodtr_plugin.evaluation.nearest import most_similar
from geodtr_plugin.utils.ragged import Ragged


def slow_rows(query, reference, count, left_out):
    """The rows of the most similar references, one query after another."""
    rows = np.full((len(query), count), -1)
    for row, vector in enumerate(query.double()):
        allowed = [i for i in range(len(reference)) if i not in left_out[row] and not torch.isnan(reference[i]).any()]
        if not torch.isnan(vector).any():
            scores = torch.nn.functional.cosine_similarity(vector[None], reference[allowed].double())
            best = [allowed[i] for i in scores.argsort(descending=True)[:count]]
            rows[row, : len(best)] = best
    return rows


@pytest.mark.parametrize("tile", [(1024, 16_384), (7, 5), (64, 3)])
def test_the_search_finds_the_most_similar_whatever_the_tiles(monkeypatch, tile):
    monkeypatch.setattr("geodtr_plugin.evaluation.nearest.ROWS", tile[0])
    monkeypatch.setattr("geodtr_plugin.evaluation.nearest.COLUMNS", tile[1])
    generator = torch.Generator().manual_seed(0)
    query, reference = torch.randn(2, 50, 8, generator=generator)
    query, reference = 3 * query, reference * torch.rand(50, 1, generator=generator)  # cosine: lengths do not count
    query[4], query[30, 2], reference[11], reference[12, 0] = torch.nan, torch.inf, torch.nan, torch.nan
    left_out = [[row, (row * 7 + 1) % 50] for row in range(50)]
    similarity, found = most_similar(query, reference, 9, left_out=Ragged.from_lists(left_out))
    query[30] = torch.nan
    assert found.dtype == np.int64 and (found == slow_rows(query, reference, 9, left_out)).all()
    assert similarity.dtype == np.float32 and (np.isneginf(similarity) == (found == -1)).all()
    expected = torch.nn.functional.cosine_similarity(query[7], reference[found[7].tolist()])
    np.testing.assert_allclose(similarity[7], expected, atol=1e-6)
    assert (found[[4, 30]] == -1).all() and not np.isin(found, [11, 12]).any()
    _, few = most_similar(query.numpy(), reference.numpy(), 9, candidates=np.array([3, 40, 12, 8]))
    assert {*few[0, :3]} == {3, 8, 40} and (few[0, 3:] == -1).all()
    assert (most_similar(torch.full((2, 3), torch.nan), torch.rand(4, 3), 2)[1] == -1).all()
    with pytest.raises(ValueError, match="one space"):
        most_similar(torch.rand(2, 3), torch.rand(4, 5), 1)
