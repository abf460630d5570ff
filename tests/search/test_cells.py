"""Cells that are learned once and filled elsewhere."""

from __future__ import annotations

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
