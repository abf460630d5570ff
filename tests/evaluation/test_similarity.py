"""The bounds on similarities hold, and exact ones are exact."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from geodtr_plugin.evaluation import similarity
from geodtr_plugin.evaluation.ranking import TIE
from geodtr_plugin.evaluation.similarity import (
    Vectors,
    error_bound,
    pair_similarities,
    plain_float32,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 7, 384, 3072])
@pytest.mark.parametrize("kind", ["random", "constant", "positive"])
def test_similarities_stay_within_the_bound(size, kind):
    make = {"random": torch.randn, "constant": torch.ones, "positive": torch.rand}[kind]
    query, reference = make(20, size) * 3.7, make(30, size) * 0.019
    exact = F.normalize(query.double()) @ F.normalize(reference.double()).T
    queries, references = Vectors(query, "query", CPU), Vectors(reference, "reference", CPU)
    for dtype in (torch.bfloat16, torch.float32):
        product = queries.unit_rows(slice(0, 20), dtype) @ references.unit_rows(slice(5, 25), dtype).T
        assert product.dtype == dtype
        assert ((product.double() - exact[:, 5:25]).abs() <= error_bound(dtype, size, exact[:, 5:25])).all()
    slow = queries.unit_rows(slice(0, 20), torch.float64) @ references.unit_rows(slice(5, 25), torch.float64).T
    pairs = pair_similarities(queries, torch.tensor([0, 5, 5]), references, torch.tensor([29, 0, 1]))
    for ours, expected in ((slow, exact[:, 5:25]), (pairs, exact[[0, 5, 5], [29, 0, 1]])):
        assert (ours - expected).abs().max() < TIE / 2  # otherwise equal ones might not be found equal


def test_bfloat16_is_for_processors_that_are_fast_in_it(monkeypatch):
    for bfloat16_seconds, pays in ((0.9, False), (0.4, True)):
        seconds = iter([[1.0] * 5, [bfloat16_seconds] * 5])
        monkeypatch.setattr(similarity.timeit, "repeat", lambda *a, s=seconds, **k: next(s))
        similarity._faster_in_bfloat16.cache_clear()
        assert similarity.bfloat16_pays(CPU) is pays
        assert not similarity.bfloat16_pays(torch.device("meta"))
    similarity._faster_in_bfloat16.cache_clear()


def test_no_pairs_and_blocks_of_pairs(monkeypatch):
    vectors, none = Vectors(torch.randn(40, 6), "query", CPU), torch.empty(0, dtype=torch.int64)
    assert pair_similarities(vectors, none, vectors, none).shape == (0,)
    rows, columns = torch.randint(40, (2, 100))
    whole = pair_similarities(vectors, rows, vectors, columns)
    monkeypatch.setattr(similarity, "BLOCK_BYTES", {"cpu": 7 * 8 * 6, "cuda": 0})
    assert torch.equal(pair_similarities(vectors, rows, vectors, columns), whole)
    assert torch.equal(Vectors(vectors.data, "query", CPU).inverse_norms, vectors.inverse_norms)


def test_embeddings_may_lie_elsewhere_than_the_device(monkeypatch):
    """With tensors that know their device and have no numbers, which refuse to meet those of another device."""
    monkeypatch.setattr(torch.Tensor, "item", lambda self: 1.0)  # the longest norm
    with FakeTensorMode():
        gpu = torch.device("cuda")
        for home in (CPU, gpu):
            vectors = Vectors(torch.randn(8, 4, device=home), "query", gpu)
            for size in (0, 3):
                rows = torch.zeros(size, dtype=torch.int64, device=gpu)
                assert pair_similarities(vectors, rows, vectors, rows).device.type == "cuda"
            assert vectors.unit_rows(slice(2, 5), torch.bfloat16).device.type == "cuda"
        monkeypatch.setattr(Vectors, "rows", lambda self, rows, dtype: torch.randn(len(rows), 4, device=CPU).to(dtype))
        with pytest.raises(RuntimeError, match="device"):
            pair_similarities(vectors, rows[:0], vectors, rows[:0])


def test_a_vector_without_direction_is_similar_to_nothing():
    vectors = Vectors(torch.tensor([[0.0, 0.0], [1e-14, 0.0], [1e-6, 0.0]]), "query", CPU)
    assert vectors.unit_rows(slice(0, 3), torch.float32)[:, 0].tolist() == [0.0, 0.0, 1.0]


def test_whole_numbers_are_embeddings_too():
    unit = Vectors(torch.tensor([[3, 4]]), "query", CPU).unit_rows(slice(0, 1), torch.float32)
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
