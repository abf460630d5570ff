"""Ranks against exact arithmetic: ties, duplicates, several positives, ignored, every tile size, bounded memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.evaluation import (
    NonFiniteEmbeddingsError,
    Ranks,
    Truth,
    large_tiles,
    rank_queries,
    ranking,
    tiles,
)
from geodtr_plugin.evaluation.ranking import CELL_BYTES, tile_shape

WAYS = [("bfloat16", "rows"), ("bfloat16", "pairs"), ("float32", "rows"), ("large", "rows"), ("large", "pairs")]


@pytest.fixture(scope="module", params=WAYS, ids=" ".join)
def precisions(request):
    """Begin in bfloat16 or float32 whatever this processor is good at, and look again at rows of a tile or at pairs.

    "large": in the large tiles of a GPU, on the CPU.
    """
    first, again = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "bfloat16_pays", lambda device: first == "bfloat16")
        for module in (tiles, large_tiles):
            patch.setattr(module, "MANY", -1 if again == "rows" else 2)
        if first == "large":
            patch.setattr(ranking, "large_tiles_pay", lambda *both: max(x.longest for x in both) < large_tiles.LONG)
        yield


def cosine_key(q, r):
    """Grows with the cosine of two integer vectors, exactly: its sign times its square."""
    dot, norm = sum(a * b for a, b in zip(q, r)), sum(b * b for b in r)
    return Fraction(dot * abs(dot), norm) if norm and any(q) else Fraction(0)


def naive_rank(q, references, positives, ignored, ties):
    """(found, rank among all, rank without ignored), one reference after another in rational arithmetic."""
    if not positives:
        return False, len(references), len(references)
    keys = [cosine_key(q, r) for r in references]
    best = max(keys[i] for i in positives)
    beats = [k >= best if ties == "pessimistic" else k > best for k in keys]
    plain = sum(beats[i] for i in range(len(keys)) if i not in positives)
    without = sum(beats[i] for i in range(len(keys)) if i not in positives and i not in ignored)
    return True, plain, without


@st.composite
def retrievals(draw):
    """Small integer vectors (many exact ties and duplicates, zero vectors too) and any truth."""
    size = draw(st.integers(1, 3))
    vector = st.lists(st.integers(-2, 2), min_size=size, max_size=size)
    queries = draw(st.lists(vector, min_size=1, max_size=6))
    references = draw(st.lists(vector, min_size=1, max_size=12))
    some = st.sets(st.integers(0, len(references) - 1), max_size=4)
    positives = [draw(some) for _ in queries]
    ignored = [draw(some) - positive for positive in positives]
    return queries, references, positives, ignored


@pytest.mark.usefixtures("precisions")
@settings(deadline=None, max_examples=150)
@given(
    retrievals(),
    st.sampled_from(["pessimistic", "optimistic"]),
    st.sampled_from([1, 300, 1000, None]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_ranks_are_those_of_exact_arithmetic(retrieval, ties, buffer_bytes, dtype):
    queries, references, positives, ignored = retrieval
    ranks = rank_queries(
        torch.tensor(queries, dtype=dtype),
        torch.tensor(references, dtype=dtype),
        Truth.from_lists(map(sorted, positives), map(sorted, ignored)),
        ties=ties,
        buffer_bytes=buffer_bytes,
    )
    expected = [naive_rank(q, references, p, n, ties) for q, p, n in zip(queries, positives, ignored)]
    assert list(zip(ranks.found, ranks.plain, ranks.without_ignored)) == expected


@pytest.mark.usefixtures("precisions")
@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
@pytest.mark.parametrize("spread", [1.0, 1e-3])  # 1e-3: a nearly collapsed model, decided below float32
def test_ranks_of_random_embeddings_in_every_tiling(ties, spread):
    query = torch.randn(67, 48) * spread + 1
    reference = torch.randn(83, 48) * spread + 1
    reference[40:45] = reference[:5]  # unlabelled duplicates of positives
    labels = torch.arange(67)
    truth = Truth.from_labels(labels, torch.arange(83) % 67)
    s = torch.nn.functional.normalize(query.double()) @ torch.nn.functional.normalize(reference.double()).T
    expected = []
    for row, positives in zip(s, (truth.positives[i] for i in range(67))):
        others = np.delete(row.numpy(), positives)
        best = row[positives].max().item()
        expected.append(int((others >= best - 1e-12).sum() if ties == "pessimistic" else (others > best + 1e-12).sum()))
    for buffer_bytes in (5_000, 30_000, None):
        ranks = rank_queries(query, reference, truth, ties=ties, buffer_bytes=buffer_bytes)
        assert ranks.plain.tolist() == expected == ranks.without_ignored.tolist()


@pytest.mark.usefixtures("precisions")
@pytest.mark.parametrize("n", [1, 2, 5, 130])
@pytest.mark.parametrize("size", [3, 3072])
def test_a_collapsed_model_scores_nothing_whatever_the_tiles(n, size):
    same = torch.rand(1, size) + 0.1
    embeddings = same * torch.rand(n, 1).add(0.5)  # one direction, many norms
    for buffer_bytes in (100_000, 5_000_000, None):
        ranks = rank_queries(embeddings, embeddings, buffer_bytes=buffer_bytes)
        assert ranks.plain.tolist() == [n - 1] * n
    assert rank_queries(embeddings, embeddings, ties="optimistic").plain.tolist() == [0] * n


@pytest.mark.parametrize("first", [torch.bfloat16, torch.float32])
def test_every_precision_has_its_part_and_ranks_are_those_of_float64(monkeypatch, first):
    """Queries of all kinds in one block: easy ones, hard ones in the bulk of all similarities, near and exact ties."""
    rows, pairs = {torch.bfloat16: [], torch.float32: [], torch.float64: []}, []
    compare, compare_pairs = tiles.QueryBlock._compare, tiles.pair_similarities

    def counting(block, some, columns, dtype):
        rows[dtype].append(len(block.threshold[some]))
        return compare(block, some, columns, dtype)

    monkeypatch.setattr(ranking, "large_tiles_pay", lambda query, reference: False)
    monkeypatch.setattr(tiles, "MANY", 1 / 128)
    monkeypatch.setattr(tiles, "bfloat16_pays", lambda device: first == torch.bfloat16)
    monkeypatch.setattr(tiles.QueryBlock, "_compare", counting)
    monkeypatch.setattr(tiles, "pair_similarities", lambda *a: (pairs.append(len(a[1])), compare_pairs(*a))[1])
    reference = torch.nn.functional.normalize(torch.randn(3000, 64))
    likeness = torch.tensor([2.0, 0.3, 0.02, 0.0]).repeat(100)[:, None]
    query = likeness * reference[:400] + torch.nn.functional.normalize(torch.randn(400, 64))
    reference[1000:1400] = reference[:400] * torch.linspace(0.5, 2, 400)[:, None]  # of one direction
    reference[1400:1800] = reference[:400] + 1e-3 * torch.randn(400, 64)
    query[-8:] = 0  # similar to nothing: all references tie
    ranks = rank_queries(query, reference, Truth.diagonal(400), buffer_bytes=2**20)
    exact = torch.nn.functional.normalize(query.double()) @ torch.nn.functional.normalize(reference.double()).T
    best = exact.diagonal()[:, None]
    assert ranks.plain.tolist() == ((exact >= best - 1e-12).sum(1) - 1).tolist()
    np.testing.assert_allclose(ranks.similarity, best[:, 0], atol=1e-12)
    assert len(set(ranks.plain.tolist())) > 50  # all kinds of ranks
    assert max(rows[torch.float64]) == 8, "of the zeros alone, whole rows are compared in float64"
    assert sum(pairs) > 400, "of the others, single pairs, their copies among them"
    if first == torch.bfloat16:
        assert 8 < max(rows[torch.float32]), "the bulk of the similarities is undecided in bfloat16"


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_nothing_is_compared_again_where_the_first_precision_decides(monkeypatch, on_a_gpu):
    monkeypatch.setattr(ranking, "large_tiles_pay", lambda query, reference: on_a_gpu)
    for module in (tiles, large_tiles):
        monkeypatch.setattr(module, "pair_similarities", lambda *arguments: pytest.fail("something is in doubt"))
    assert rank_queries(torch.eye(50), torch.eye(50)).plain.tolist() == [0] * 50


def hard_pairs(n=600, size=64):
    """Queries and references of all kinds: easy, in the bulk, of one direction, without direction, long and short."""
    reference = torch.nn.functional.normalize(torch.randn(3 * n, size))
    query = torch.tensor([2.0, 0.3, 0.02]).repeat(n // 3)[:, None] * reference[:n] + 0.1 * torch.randn(n, size)
    reference[n : n + n // 2] = reference[: n // 2] * torch.linspace(0.5, 2, n // 2)[:, None]
    reference[-n:] = reference[:n] + 1e-5 * torch.randn(n, size)
    query[5], reference[7], query[11], query[12], reference[13] = 0, 0, 1e-20, 1e-13, reference[13] * 1e11
    query[20:30] *= 1e15 if n > 500 else 1
    return query, reference


@pytest.mark.parametrize("n", [90, 600])  # of 600, some are too long for products that are not normalised
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
def test_large_tiles_find_the_ranks_of_small_ones(monkeypatch, n, dtype, ties):
    query, reference = (x.to(dtype) for x in hard_pairs(n))
    truth = Truth.from_lists([[i, (i * 7) % 40] if i % 40 != (i * 7) % 40 else [i] for i in range(n)],
                             [[3 * n - 1 - i] for i in range(n)])  # fmt: skip
    monkeypatch.setattr(ranking, "large_tiles_pay", lambda query, reference: False)
    expected = rank_queries(query, reference, truth, ties=ties)
    monkeypatch.setattr(ranking, "large_tiles_pay", lambda *both: max(x.longest for x in both) < large_tiles.LONG)
    decided, again = [], []
    decide, repeat = large_tiles.LargeTiles.decide, large_tiles.LargeTiles.again
    monkeypatch.setattr(large_tiles.LargeTiles, "decide", lambda *a: (decided.append(len(a[1])), decide(*a))[1])
    monkeypatch.setattr(large_tiles.LargeTiles, "again", lambda *a: (again.append(a[1]), repeat(*a))[1])
    for many, buffer_bytes in itertools.product((1, 1 / 32, 0), (20_000, 500_000, None)):
        monkeypatch.setattr(large_tiles, "MANY", many)
        ranks = rank_queries(query, reference, truth, ties=ties, buffer_bytes=buffer_bytes)
        for name in Ranks.COLUMNS:
            assert (getattr(ranks, name) == getattr(expected, name)).all()
    if n < 500:
        assert sum(decided) > 100 and again


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_gpu_gives_the_ranks_of_a_cpu(where):
    query, reference = hard_pairs()
    expected = rank_queries(query, reference, Truth.diagonal(len(query)))
    ranks = rank_queries(query.to(where), reference.to(where), Truth.diagonal(len(query)), device="cuda")
    assert (ranks.plain == expected.plain).all()


def test_parts_of_the_queries_are_joined_and_taken():
    query, reference, truth = torch.randn(30, 8), torch.randn(20, 8), Truth.from_lists([[i % 19] for i in range(30)])
    whole = rank_queries(query, reference, truth)
    rows = np.arange(30)
    parts = [rank_queries(query[part], reference, truth.take(part)) for part in (rows[:11], rows[11:])]
    for ranks, kept in ((Ranks.joined(parts), rows), (whole.take(rows % 3 == 0), rows[::3])):
        assert ranks.num_references == 20 and len(ranks) == len(kept)
        for name in ("plain", "without_ignored", "found", "similarity"):
            assert (getattr(ranks, name) == getattr(whole, name)[kept]).all()


@pytest.mark.usefixtures("precisions")
@pytest.mark.parametrize("scale", [2.0**-30, 1.0, 2.0**60])  # powers of two, so that no entry is rounded
@pytest.mark.parametrize(("ties", "rank"), [("pessimistic", 1), ("optimistic", 0)])
def test_an_unlabelled_copy_of_the_positive_is_a_tie_wherever_it_lies(scale, ties, rank):
    reference = torch.randn(40, 3072)
    query = torch.randn(40, 3072) + reference
    gallery = torch.cat([reference, torch.randn(70, 3072), reference * scale])
    for buffer_bytes in (1_000_000, 3_000_001, None):
        ranks = rank_queries(query, gallery, Truth.diagonal(40), ties=ties, buffer_bytes=buffer_bytes)
        assert ranks.plain.tolist() == [rank] * 40


def test_differences_below_float32_decide():
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    angles = torch.tensor([1.0, 1.0 - 1e-9, 1.0 + 1e-9], dtype=torch.float64)
    reference = torch.stack([angles.cos(), angles.sin()], dim=1)
    for positive, rank in ((0, 1), (1, 0), (2, 2)):
        assert rank_queries(query, reference, Truth.from_lists([[positive]])).plain.tolist() == [rank]


def test_a_query_does_not_beat_itself_by_rounding():
    query = torch.randn(500, 3072)
    assert rank_queries(query, query).plain.max() == 0


def test_a_query_that_is_in_the_gallery_is_left_out_for_itself():
    embeddings = torch.tensor([[1.0, 0], [1.0, 0.1], [0, 1.0], [1.0, 0.2]])
    truth = Truth.from_labels([0, 0, 1, 0], [0, 0, 1, 0])
    ranks = rank_queries(embeddings, embeddings, truth, ref_includes_query=True)
    assert ranks.found.tolist() == [True, True, False, True]  # place 1 has no second image
    assert ranks.plain.tolist() == [0, 0, 4, 0]
    labels = [0, 1, 2, 0]
    ranks = rank_queries(embeddings, embeddings, Truth.from_labels(labels, labels), ref_includes_query=True)
    assert ranks.plain.tolist() == [1, 4, 4, 1]


def test_half_precision_arrays_and_the_callers_tensors_are_taken_as_they_are():
    query, reference = torch.randn(30, 8), torch.randn(30, 8)
    before = query.clone(), reference.clone()
    expected = rank_queries(query.half().double(), reference.half().double()).plain.tolist()
    assert rank_queries(query.half(), reference.half()).plain.tolist() == expected
    assert rank_queries(query.half().numpy(), reference.half().numpy()).plain.tolist() == expected
    rank_queries(query, reference), rank_queries(query.double(), reference.double())
    assert query.equal(before[0]) and reference.equal(before[1])


def test_autocast_and_matmul_precision_do_not_matter_and_survive():
    query, reference = torch.randn(200, 64), torch.randn(200, 64)
    expected = rank_queries(query, reference).plain.tolist()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert rank_queries(query, reference).plain.tolist() == expected
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e38])
def test_embeddings_that_are_not_finite_are_an_error(bad):
    good, wrong = torch.randn(20, 4), torch.randn(20, 4)
    wrong[[3, 17], 2] = bad
    with pytest.raises(NonFiniteEmbeddingsError, match=r"2 of 20 query embeddings are not finite.*\(rows 3, 17\)"):
        rank_queries(wrong, good)
    with pytest.raises(NonFiniteEmbeddingsError, match="2 of 20 reference embeddings"):
        rank_queries(good, wrong, buffer_bytes=500)


def test_inputs_that_do_not_fit():
    x = torch.randn(4, 3)
    with pytest.raises(ValueError, match="must pair up"):
        rank_queries(x, torch.randn(5, 3))
    with pytest.raises(ValueError, match="not one space"):
        rank_queries(x, torch.randn(4, 2))
    with pytest.raises(ValueError, match="truth is about 3 queries"):
        rank_queries(x, x, Truth.diagonal(3))
    with pytest.raises(ValueError, match="names reference 3"):
        rank_queries(x, x[:3], Truth.diagonal(4))
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        rank_queries(x[0], x)
    with pytest.raises(ValueError, match="N, D > 0"):
        rank_queries(x[:0], x)
    with pytest.raises(ValueError, match="ties must be one of"):
        rank_queries(x, x, ties="fair")


@given(st.integers(1, 2**34))
def test_tiles_fit_their_buffer(buffer_bytes):
    height, width = tile_shape(buffer_bytes)
    assert height == 2 * width and (width == 1 or CELL_BYTES * height * width <= buffer_bytes)
    assert CELL_BYTES * 2 * (width + 1) * (width + 1) > buffer_bytes


@pytest.mark.slow
def test_memory_is_bounded():
    code = """
import resource, torch
from geodtr_plugin.utils import recall
torch.set_num_threads(1)
query, reference = torch.randn(20_000, 8), torch.randn(20_000, 8)
recall(query[:300], reference[:300])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
recall(query, reference, ties="optimistic")
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 100  # MB; the matrix of similarities alone would take 1,600
