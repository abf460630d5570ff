"""Exact and approximate search, against brute force."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from geodtr_plugin.evaluation import nearest
from geodtr_plugin.search import VectorIndex
from geodtr_plugin.search import vector_index as module
from geodtr_plugin.utils.errors import UserError


def unit(count, size=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clustered(count=2000, size=16, centres=40):
    rows = unit(centres, size, 1)[np.arange(count) % centres] + 0.3 * unit(count, size, 2)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("queries", [1, 5])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_exact_search_is_brute_force_over_all_tiles(dtype, queries, monkeypatch):
    monkeypatch.setattr(nearest, "COLUMNS", 300)  # a single query meets 256 of them at once, and then the rest
    vectors, queries = unit(700).astype(dtype), unit(queries, seed=1)
    similarities, rows = VectorIndex.build(vectors).search(queries, 9)
    expected = queries @ vectors.astype(np.float32).T
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :9])
    np.testing.assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :9], atol=1e-6)


def test_equals_come_in_the_order_of_rows():
    signs = np.sign(unit(2, 16)) / 4  # unit vectors whose products are exact, in whatever order a CPU adds
    vectors = np.repeat(signs.astype(np.float32), 3, axis=0)
    _, rows = VectorIndex.build(vectors).search(vectors[:1], 6)
    assert rows[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_more_answers_than_vectors_are_all_vectors():
    assert VectorIndex.build(unit(3)).search(unit(1, seed=1), 99)[1].shape == (1, 3)


def test_cells_that_are_all_looked_at_lose_nothing():
    vectors, queries = clustered(), clustered()[:20]
    index = VectorIndex.build(vectors, "ivf", nlist=20)
    exact, near = index.search(queries, 10, exact=True), index.search(queries, 10, nprobe=20)
    np.testing.assert_array_equal(exact[1], near[1])
    few = index.search(queries, 60, nprobe=1)[1]  # one cell holds about a hundred, of two clusters
    assert (few[:, 0] == np.arange(20)).all() and (few != index.search(queries, 60, exact=True)[1]).any()


def test_compressed_vectors_are_ranked_by_their_true_ones():
    vectors = clustered()
    index = VectorIndex.build(vectors, "ivfpq", nlist=10)
    found, rows = index.search(vectors[:20], 5, nprobe=10)
    assert (rows[:, 0] == np.arange(20)).all()
    np.testing.assert_allclose(found, np.einsum("qd,qkd->qk", vectors[:20], vectors[rows]), atol=1e-6)


def test_cells_with_too_few_vectors_are_made_up_for():
    vectors = unit(60)
    rows = VectorIndex.build(vectors, "ivf", nlist=30).search(vectors[:3], 50, nprobe=1)[1]
    assert (rows >= 0).all() and all(len(set(row)) == 50 for row in rows.tolist())


@pytest.mark.parametrize("kind, dtype", [("ivf", "float32"), ("ivf", "float16"), ("ivfpq", "float32")])
def test_the_same_vectors_give_the_same_bytes(kind, dtype, tmp_path):
    vectors = clustered().astype(dtype)
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        built = VectorIndex.build(vectors, kind, nlist=10)
        built.save(tmp_path / name)
        files.append((tmp_path / name / VectorIndex.FILE).read_bytes())
    assert files[0] == files[1]
    loaded = VectorIndex.load(vectors, tmp_path / "one", built.nprobe)
    assert loaded.kind == kind
    queries = vectors[:4].astype(np.float32)
    np.testing.assert_array_equal(loaded.search(queries)[1], built.search(queries)[1])


def test_kinds_and_cells_follow_the_number_of_vectors():
    def many(count, size=4):
        return np.broadcast_to(np.float32(0), (count, size))

    assert [module.choose_kind(many(*shape)) for shape in ((49_999,), (50_000,), (10**6, 2000))] == [
        "flat", "ivf", "ivfpq",
    ]  # fmt: skip
    assert module.cells_for(100_000) == 1265 and module.cells_for(100) == 2 and module.cells_for(1) == 1


@pytest.mark.parametrize("before, within", [(128_000, 5000), (20, 20)])
def test_matrix_products_are_asked_for_while_cells_are_learned_only(before, within, monkeypatch):
    monkeypatch.setattr(faiss, "omp_get_max_threads", lambda: 2)
    monkeypatch.setattr(faiss.cvar, "distance_compute_blas_threshold", before)
    seen = []

    class Watched(faiss.IndexIVFFlat):
        def train(self, sample):
            seen.append(faiss.cvar.distance_compute_blas_threshold)
            raise RuntimeError("no")

    monkeypatch.setattr(faiss, "index_factory", lambda size, _, metric: Watched(faiss.IndexFlatIP(size), size, 20))
    with pytest.raises(RuntimeError, match="no"):
        VectorIndex.build(unit(2000), "ivf", nlist=20)
    assert seen == [within] and faiss.cvar.distance_compute_blas_threshold == before


def test_cells_are_learned_from_a_sample_no_larger_than_it_must_be():
    rows = module._sampled_rows(10_000, "ivf", 20, 0)
    assert len(set(rows.tolist())) == 1280 and (np.diff(rows) > 0).all() and rows[-1] > 9_900
    np.testing.assert_array_equal(rows, module._sampled_rows(10_000, "ivf", 20, 0))
    assert (rows != module._sampled_rows(10_000, "ivf", 20, 1)).any()
    assert len(module._sampled_rows(10**6, "ivfpq", 10, 0)) == 16_384
    assert len(module._sampled_rows(500, "ivf", 20, 0)) == 500


@pytest.mark.parametrize("kind", ["flat", "ivf", "ivfpq"])
def test_candidates_are_all_compared_and_no_others(kind):
    vectors, rows = clustered(), np.arange(3, 2000, 7)
    index = VectorIndex.build(vectors, kind, nlist=None if kind == "flat" else 20)
    found, near = index.search(vectors[:9], 5, candidates=rows)
    products = vectors[:9] @ vectors[rows].T
    np.testing.assert_array_equal(near, rows[np.argsort(-products, axis=1)[:, :5]])
    np.testing.assert_allclose(found, -np.sort(-products, axis=1)[:, :5], atol=1e-6)
    assert index.search(vectors[:9], 5, candidates=rows[:0])[1].shape == (9, 0)


def test_mistakes_are_sentences(tmp_path):
    index = VectorIndex.build(unit(10))
    with pytest.raises(UserError, match="too few for ivfpq"):
        VectorIndex.build(unit(10), "ivfpq")
    with pytest.raises(UserError, match="Lower --nlist"):
        VectorIndex.build(unit(10), "ivf", nlist=11)
    with pytest.raises(UserError, match="not finite"):
        index.search(np.full((1, 16), np.nan))
    with pytest.raises(UserError, match="1 at least"):
        index.search(unit(1), 0)
    with pytest.raises(ValueError, match="must be .Q, 16."):
        index.search(unit(1, 8))
    (tmp_path / VectorIndex.FILE).write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        VectorIndex.load(unit(10), tmp_path)
