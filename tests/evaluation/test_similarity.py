"""The bounds on bfloat16 and float32 similarities hold, and exact ones are exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from geodtr_plugin.evaluation import similarity
from geodtr_plugin.evaluation.ranking import TIE
from geodtr_plugin.evaluation.similarity import (
    BFLOAT16_UNIT,
    Vectors,
    bfloat16_error,
    coarse_similarities,
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
    fast = tile_similarities(queries.unit32(slice(0, 20)), references, slice(5, 25))
    assert (fast - exact[:, 5:25]).abs().max() < float32_error(size)
    rows = torch.tensor([3, 19])
    slow = exact_similarities(queries, rows, references, slice(5, 25))
    pairs = pair_similarities(queries, torch.tensor([0, 5, 5]), references, torch.tensor([29, 0, 1]))
    for ours, expected in ((slow, exact[rows, 5:25]), (pairs, exact[[0, 5, 5], [29, 0, 1]])):
        assert (ours - expected).abs().max() < TIE / 2  # otherwise equal ones might not be found equal


@pytest.mark.parametrize("size", [1, 7, 384, 3072])
@pytest.mark.parametrize("kind", ["random", "constant", "positive", "just above a half step"])
def test_coarse_similarities_stay_within_their_bound(size, kind):
    make = {"random": torch.randn, "constant": torch.ones, "positive": torch.rand}.get(
        kind, lambda n, size: torch.ones(n, size) * (1 + 2.0**-9 + 2.0**-20)
    )
    query, reference = make(20, size) * 3.7, make(30, size) * 0.019
    exact = F.normalize(query.double()) @ F.normalize(reference.double()).T
    queries, references = Vectors(query, "query", CPU), Vectors(reference, "reference", CPU)
    coarse = coarse_similarities(queries.unit32(slice(0, 20)).bfloat16(), references, slice(5, 25)).double()
    off = (coarse - exact[:, 5:25]).abs()
    assert (off < bfloat16_error(size) + 2 * BFLOAT16_UNIT * coarse.abs()).all()
    rows = slice(3, 29)  # longer than a block of large vectors
    expected = references.unit32(rows).bfloat16()
    assert torch.equal(references.unit16(rows), expected) and torch.equal(references.unit16(rows), expected)


def test_bfloat16_is_for_processors_that_are_fast_in_it(monkeypatch):
    slow = {torch.float32: 1.0, torch.bfloat16: 0.9}
    for bfloat16_seconds, pays in ((0.9, False), (0.4, True)):
        slow[torch.bfloat16] = bfloat16_seconds
        monkeypatch.setattr(similarity, "_seconds_of_product", lambda x: slow[x.dtype])
        similarity._faster_in_bfloat16.cache_clear()
        assert similarity.bfloat16_pays(CPU) is pays
        assert not similarity.bfloat16_pays(torch.device("meta"))
    similarity._faster_in_bfloat16.cache_clear()


def test_a_vector_without_direction_is_similar_to_nothing():
    vectors = Vectors(torch.tensor([[0.0, 0.0], [1e-14, 0.0], [1e-6, 0.0]]), "query", CPU)
    assert tile_similarities(torch.tensor([[1.0, 0.0]]), vectors, slice(0, 3)).tolist() == [[0.0, 0.0, 1.0]]


def test_whole_numbers_are_embeddings_too():
    unit = Vectors(torch.tensor([[3, 4]]), "query", CPU).unit32(slice(0, 1))
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
