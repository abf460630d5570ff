"""Cells that are learned once and filled elsewhere, and the way over a GPU, for which the CPU stands in here."""

from __future__ import annotations

import logging

import faiss
import numpy as np
import pytest

from geodtr_plugin.search import VectorIndex, learn_cells, read_cells
from geodtr_plugin.search.cells import cells_for, sample_size, sampled_rows
from geodtr_plugin.utils.errors import UserError

KINDS = ("ivf", "ivfpq")


def unit(count, size=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bytes_of(cells):
    return faiss.serialize_index(cells).tobytes()


@pytest.fixture
def told(caplog, monkeypatch):
    """What was logged; a run keeps it from the root logger."""
    monkeypatch.setattr(logging.getLogger("geodtr_plugin"), "propagate", True)
    return caplog


class Gpus:
    """What faiss offers where there is a GPU; copies stay on the CPU and are counted."""

    def __init__(self, monkeypatch, fault=None):
        self.learning, self.filling, self.asked, self.fault = [], [], 0, fault
        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
        monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", self.copy, raising=False)

    def copy(self, index):
        if self.fault is not None:
            raise self.fault
        copy = faiss.clone_index(index)
        (self.filling if index.ntotal else self.learning).append(copy)
        return self if index.ntotal else copy  # k-means needs an index of faiss's own

    def search(self, vectors, k):
        self.asked += len(vectors)
        return self.filling[-1].search(vectors, k)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_learns_and_fills_and_leaves_an_index_of_the_cpu(kind, monkeypatch):
    vectors = unit(2000)
    alone = VectorIndex.build(vectors, kind, nlist=20).approximate
    gpus = Gpus(monkeypatch)
    built = VectorIndex.build(vectors, kind, nlist=20).approximate
    assert [copy.ntotal for copy in gpus.learning] == [20]  # k-means left its centres there
    assert [copy.ntotal for copy in gpus.filling] == [20] and gpus.asked == 2000
    assert bytes_of(built) == bytes_of(alone) and type(built) is type(alone)
    assert built.clustering_index is None


def test_what_the_gpu_answers_is_what_the_cells_get(monkeypatch):
    vectors = unit(2000)
    cells = learn_cells(vectors, "ivf", nlist=20)
    monkeypatch.setattr(Gpus, "search", lambda self, some, k: (None, np.full((len(some), 1), 7)))
    Gpus(monkeypatch)
    filled = VectorIndex.build(vectors, cells=cells).approximate
    assert [filled.invlists.list_size(cell) for cell in range(20)] == [2000 if cell == 7 else 0 for cell in range(20)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_on_a_gpu_is_told_and_done_on_the_cpu(kind, monkeypatch, told):
    vectors = unit(2000)
    alone = bytes_of(VectorIndex.build(vectors, kind, nlist=20).approximate)
    Gpus(monkeypatch, RuntimeError("Error in alloc: out of memory.\nmore"))
    assert bytes_of(VectorIndex.build(vectors, kind, nlist=20).approximate) == alone
    assert [record.getMessage() for record in told.records] == [
        f"The cells cannot be {done} on the GPU (Error in alloc: out of memory). It is done on the CPU."
        for done in ("learned", "filled")
    ]


def test_a_gpu_that_dies_while_it_fills_leaves_nothing_twice(monkeypatch, told):
    vectors = unit(2000)
    cells = learn_cells(vectors, "ivf", nlist=20)
    monkeypatch.setattr("geodtr_plugin.search.vector_index._BLOCK_BYTES", 4 * 16 * 300)
    gpus = Gpus(monkeypatch)

    def die(some, k):
        if gpus.asked >= 600:
            raise RuntimeError("CUDA error")
        return Gpus.search(gpus, some, k)

    gpus.search = die
    filled = VectorIndex.build(vectors, cells=cells).approximate
    assert gpus.asked == 600 and filled.ntotal == 2000 and "CUDA error" in told.text


def test_a_gpu_is_left_alone_on_request_and_mistakes_are_no_reason_to_go_on(monkeypatch):
    Gpus(monkeypatch, AssertionError("asked for a GPU"))
    assert VectorIndex.build(unit(2000), "ivf", nlist=20, gpu=False).kind == "ivf"
    with pytest.raises(AssertionError, match="asked for a GPU"):
        VectorIndex.build(unit(2000), "ivf", nlist=20)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_from_disk_are_filled_anew(kind, tmp_path):
    first, second = unit(2000), unit(700, seed=1)
    built = VectorIndex.build(first, kind, nlist=20)
    built.save(tmp_path)
    saved = (tmp_path / VectorIndex.FILE).read_bytes()
    cells = read_cells(tmp_path)
    assert (cells.ntotal, cells.nlist) == (0, 20)
    other = VectorIndex.build(second, cells=cells)
    assert (other.kind, other.approximate.ntotal, other.nprobe) == (kind, 700, 1)
    assert bytes_of(VectorIndex.build(first, cells=cells).approximate) == bytes_of(built.approximate)
    again = VectorIndex.build(second, cells=built.approximate)  # of an index that holds vectors
    assert bytes_of(again.approximate) == bytes_of(other.approximate)
    assert cells.ntotal == 0 and built.approximate.ntotal == 2000
    assert (tmp_path / VectorIndex.FILE).read_bytes() == saved


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
        learn_cells(unit(2000), "ivf", nlist=20)
    assert seen == [within] and faiss.cvar.distance_compute_blas_threshold == before


def test_cells_that_do_not_fit_are_refused(tmp_path):
    cells = learn_cells(unit(2000), "ivf", nlist=20)
    with pytest.raises(UserError, match="for vectors of 16 numbers, not of 8"):
        VectorIndex.build(unit(50, 8), cells=cells)
    for options in ({"kind": "flat"}, {"kind": "ivf"}, {"nlist": 20}):
        with pytest.raises(UserError, match="leave out --kind and --nlist"):
            VectorIndex.build(unit(50), cells=cells, **options)
    with pytest.raises(UserError, match="has no cells"):
        read_cells(tmp_path)
    (tmp_path / VectorIndex.FILE).write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged"):
        read_cells(tmp_path)


def test_the_sample_is_drawn_once_and_no_larger_than_it_must_be():
    assert sample_size(10**9, "ivf", cells_for(10**9)) == 64 * 126_491  # less than a hundredth of the vectors
    assert sample_size(10**6, "ivfpq", 10) == 16_384 and sample_size(500, "ivf", 20) == 500
    rows = sampled_rows(10_000, "ivf", 20)
    assert len(set(rows.tolist())) == 1280 and (np.diff(rows) > 0).all() and rows[-1] > 9_900
    np.testing.assert_array_equal(rows, sampled_rows(10_000, "ivf", 20))
    assert (rows != sampled_rows(10_000, "ivf", 20, seed=1)).any()
