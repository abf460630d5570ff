"""The bound on float32 similarities holds, and exact ones are exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from geodtr_plugin.evaluation import similarity
from geodtr_plugin.evaluation.ranking import TIE
from geodtr_plugin.evaluation.similarity import (
    Vectors,
    exact_similarities,
    float32_error,
    pair_similarities,
    plain_float32,
    tile_similarities,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 7, 384, 3072])
@pytest.mark.parametrize("kind", ["random", "constant", "positive"])
def test_fast_similarities_stay_within_the_bound(size, kind):
    make = {"random": torch.randn, "constant": torch.ones, "positive": torch.rand}[kind]
    query, reference = make(20, size) * 3.7, make(30, size) * 0.019
    exact = F.normalize(query.double()) @ F.normalize(reference.double()).T
    queries, references = Vectors(query, "query", CPU), Vectors(reference, "reference", CPU)
    fast = tile_similarities(queries.unit_rows(slice(0, 20)), references, slice(5, 25))
    assert (fast - exact[:, 5:25]).abs().max() < float32_error(size)
    rows = torch.tensor([3, 19])
    slow = exact_similarities(queries, rows, references, slice(5, 25))
    pairs = pair_similarities(queries, torch.tensor([0, 5, 5]), references, torch.tensor([29, 0, 1]))
    for ours, expected in ((slow, exact[rows, 5:25]), (pairs, exact[[0, 5, 5], [29, 0, 1]])):
        assert (ours - expected).abs().max() < TIE / 2  # otherwise equal ones might not be found equal


def test_no_pairs_and_blocks_of_pairs(monkeypatch):
    vectors, none = Vectors(torch.randn(40, 6), "query", CPU), torch.empty(0, dtype=torch.int64)
    assert pair_similarities(vectors, none, vectors, none).shape == (0,)
    rows, columns = torch.randint(40, (2, 100))
    whole = pair_similarities(vectors, rows, vectors, columns)
    monkeypatch.setattr(similarity, "BLOCK_BYTES", 7 * 8 * 6)
    assert torch.equal(pair_similarities(vectors, rows, vectors, columns), whole)
    assert torch.equal(Vectors(vectors.data, "query", CPU).inverse_norms, vectors.inverse_norms)


def test_a_vector_without_direction_is_similar_to_nothing():
    vectors = Vectors(torch.tensor([[0.0, 0.0], [1e-14, 0.0], [1e-6, 0.0]]), "query", CPU)
    assert tile_similarities(torch.tensor([[1.0, 0.0]]), vectors, slice(0, 3)).tolist() == [[0.0, 0.0, 1.0]]


def test_whole_numbers_are_embeddings_too():
    unit = Vectors(torch.tensor([[3, 4]]), "query", CPU).unit_rows(slice(0, 1))
    torch.testing.assert_close(unit, torch.tensor([[0.6, 0.8]]))


def test_settings_survive_an_error():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError, match="inside"), plain_float32(CPU):
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == before


def test_products_are_exact_inside():
    x = torch.full((64, 64), 1 + 2.0**-12)  # bfloat16 and TF32 would lose the last bit
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16), plain_float32(CPU):
            product = x @ torch.eye(64)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert product.dtype == torch.float32 and product.equal(x)
