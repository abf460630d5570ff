"""Ranks by DSM's distance are exact: ties of references and of shifts, collapse, what float32 cannot tell, memory."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.distances.correlation_scores import CorrelationScores
from geodtr_plugin.evaluation import (
    CrossViewAccuracyCalculator,
    NonFiniteEmbeddingsError,
    Truth,
    most_similar,
    rank_queries,
    recall,
    scores,
)
from geodtr_plugin.evaluation.similarity import Vectors

CPU = torch.device("cpu")


def key(query, reference):
    """Grows with the similarity of two integer maps, lists of columns, exactly: its sign times its square."""
    width, best = len(reference), None
    for k in range(width):
        crop = [reference[(k + j) % width] for j in range(len(query))]
        dot = sum(a * b for one, other in zip(query, crop) for a, b in zip(one, other))
        energy = sum(b * b for column in crop for b in column)
        if best is None or dot > best[0]:  # of equally good shifts, the first
            best = dot, energy
    dot, energy = best
    return Fraction(dot * abs(dot), energy) if energy else Fraction(0)


def naive(query, references, positives, ignored, groups, ties):
    """(found, rank among all, rank without ignored), one reference after another in rational arithmetic."""
    if not positives:
        size = len(references) if groups is None else len(set(groups))
        return False, size, size
    keys = [key(query, r) for r in references]

    def beats(one, other):
        return one >= other if ties == "pessimistic" else one > other

    shown = positives
    if groups is not None:
        wrong = [i for i in range(len(keys)) if i not in positives]
        hidden = {i for i in positives for j in wrong if groups[i] == groups[j] and beats(keys[j], keys[i])}
        shown = positives - hidden
        if not shown:
            return False, len(set(groups)), len(set(groups))
    best = max(keys[i] for i in shown)
    reached = [i for i in range(len(keys)) if i not in positives and beats(keys[i], best)]
    if groups is not None:
        return True, len({groups[i] for i in reached}), len({groups[i] for i in reached})
    return True, len(reached), sum(i not in ignored for i in reached)


@st.composite
def retrievals(draw):
    """Maps of small integers (many exact ties, duplicates and turned duplicates, zeros too), and any truth."""
    width, channels = draw(st.integers(1, 5)), draw(st.integers(1, 2))
    part = draw(st.integers(1, width))

    def some_maps(columns, most):
        column = st.lists(st.integers(-2, 2), min_size=channels, max_size=channels)
        return draw(st.lists(st.lists(column, min_size=columns, max_size=columns), min_size=1, max_size=most))

    queries, references = some_maps(part, 5), some_maps(width, 9)
    some = st.sets(st.integers(0, len(references) - 1), max_size=4)
    positives = [draw(some) for _ in queries]
    ignored, groups = [draw(some) - positive for positive in positives], None
    if draw(st.booleans()):
        ignored = [set() for _ in queries]
        groups = draw(st.lists(st.integers(0, 2), min_size=len(references), max_size=len(references)))
    return queries, references, positives, ignored, groups


@pytest.fixture(scope="module", params=[0, 2], ids=["tiles", "pairs"])
def again(request):
    """Look again at what float32 leaves open, tile by tile or pair by pair."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "SEVERAL", request.param)
        yield


@pytest.mark.usefixtures("again")
@settings(deadline=None, max_examples=60)
@given(retrievals(), st.sampled_from(["pessimistic", "optimistic"]), st.sampled_from([1, 300, None]))
def test_ranks_are_those_of_exact_arithmetic(retrieval, ties, buffer_bytes):
    queries, references, positives, ignored, groups = retrieval
    distance = CircularCorrelation((1, len(references[0]), len(references[0][0])), len(queries[0]))
    truth = Truth.from_lists(map(sorted, positives), None if groups else map(sorted, ignored))
    if groups is not None:
        truth = Truth(truth.positives, None, np.array(groups))
    query, reference = (torch.tensor(x, dtype=torch.float32).flatten(1) for x in (queries, references))
    ranks = rank_queries(query, reference, truth, ties=ties, buffer_bytes=buffer_bytes, distance=distance)
    expected = [naive(q, references, p, n, groups, ties) for q, p, n in zip(queries, positives, ignored)]
    found = list(zip(ranks.found, ranks.plain, ranks.without_ignored))
    if groups is None:
        assert found == expected
    else:  # without a right reference that is shown, a query is not found
        assert [row[:2] for row in found] == [row[:2] for row in expected]


def world(count: int, part: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random maps 2 x 12 x 4, and parts of them that begin anywhere, with noise."""
    torch.manual_seed(seed)
    reference = torch.randn(count, 2, 12, 4)
    query = torch.stack([one.roll(-int(torch.randint(12, ())), 1)[:, :part] for one in reference])
    return (query + noise * torch.randn_like(query)).flatten(1), reference.flatten(1)


def exact(distance: CircularCorrelation, query: torch.Tensor, reference: torch.Tensor) -> np.ndarray:
    """Return ranks from a whole matrix in float64."""
    similarities = distance.similarities(query.double(), reference.double())
    return ((similarities >= similarities.diag()[:, None] - 1e-12).sum(1) - 1).numpy()


@pytest.mark.parametrize("part", [12, 7, 1])
@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_bounds_hold_and_ranks_are_those_of_the_whole_matrix(part, noise):
    query, reference = world(120, part, noise)
    distance = CircularCorrelation((2, 12, 4), part)
    own = CorrelationScores(distance, Vectors(query, "query", CPU), Vectors(reference, "reference", CPU))
    whole = distance.similarities(query.double(), reference.double())
    rows, columns = torch.cartesian_prod(torch.arange(120), torch.arange(120)).T
    torch.testing.assert_close(own.pairs(rows, columns).view(120, 120), whole, atol=1e-14, rtol=0)
    low, high = own.bounds(slice(3, 90), slice(5, 110), torch.float32)
    assert (low <= whole[3:90, 5:110]).all() and (high >= whole[3:90, 5:110]).all()
    assert (high - low)[low.isfinite()].mean() < 1e-4 and low.isfinite().float().mean() > 0.9
    ranks = rank_queries(query, reference, distance=distance)
    assert (ranks.plain == exact(distance, query, reference)).all()
    np.testing.assert_allclose(ranks.similarity, whole.diag().numpy(), atol=1e-14)


def nearly_equal(part: int) -> tuple[torch.Tensor, torch.Tensor]:
    """References that differ from the right one by less than float32 products can tell."""
    query, reference = (x.double() for x in world(60, part, 0.5, seed=1))
    steps = torch.linspace(-1e-9, 1e-9, 60, dtype=torch.float64)[:, None]
    return query, reference[:1] + steps * torch.randn_like(reference)


@pytest.mark.parametrize("part", [12, 5])
def test_what_float32_cannot_tell_is_told(part, monkeypatch):
    query, reference = nearly_equal(part)
    distance = CircularCorrelation((2, 12, 4), part)
    expected = exact(distance, query, reference)
    assert len(set(expected)) > 10
    for several in (0, 2):
        monkeypatch.setattr(scores, "SEVERAL", several)
        assert (rank_queries(query, reference, distance=distance).plain == expected).all()
    monkeypatch.setattr(CorrelationScores, "error", -1e-3)  # without the bound's width it would not be
    assert (rank_queries(query, reference, distance=distance).plain != expected).any()


def test_a_shift_that_float32_cannot_choose_is_chosen():
    """Two shifts correlate alike to 1e-9, but their crops are of different length: the similarity jumps."""
    torch.manual_seed(0)
    column, long = torch.randn(4, dtype=torch.float64), torch.tensor([2.0, 0, 0, 0], dtype=torch.float64)
    column = column - column @ long / 4 * long  # unseen by the query, but in the crop's norm
    for tip in (1e-9, -1e-9):
        reference = torch.zeros(2, 6, 4, dtype=torch.float64)
        reference[0, 1, 0], reference[0, 4, 0] = 1.0, 1.0 + tip
        reference[0, 4] += column
        reference[1, 2, 0], reference[1, 5] = 1.0, 0.5 * column
        reference[1, 2] += 0.4 * column
        query = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
        distance = CircularCorrelation((1, 6, 4), 1)
        ranks = rank_queries(query, reference.flatten(1), Truth.from_lists([[1]]), distance=distance)
        assert ranks.plain.tolist() == [1 if tip < 0 else 0], "the short crop beats the other reference, the long not"


@pytest.mark.parametrize("part", [12, 5])
def test_collapsed_and_broken_embeddings_do_not_score(part):
    distance = CircularCorrelation((2, 12, 4), part)
    query, reference = world(40, part, 0.0)
    collapsed = rank_queries(query[:1].expand(40, -1), reference[:1].expand(40, -1), distance=distance)
    assert (collapsed.plain == 39).all()
    with pytest.raises(NonFiniteEmbeddingsError):
        rank_queries(query, reference * torch.nan, distance=distance)
    with pytest.raises(ValueError, match="12 columns have 96 numbers, not 95"):
        rank_queries(query, reference[:, 1:], distance=distance)


def test_metrics_and_neighbours_go_through_it():
    distance = CircularCorrelation((2, 12, 4), 5)
    query, reference = world(50, 5, 1.5)
    expected = (exact(distance, query, reference) == 0).mean()
    assert 0.2 < expected < 1
    assert recall(query, reference, distance=distance)["recall_at_1"] == pytest.approx(expected)
    places = torch.arange(50)
    calculator = CrossViewAccuracyCalculator(distance=distance)
    assert calculator.get_accuracy(query, places, reference, places)["recall_at_1"] == pytest.approx(expected)
    whole = distance.similarities(query, reference)
    values, rows = most_similar(query, reference, 3, distance=distance)
    torch.testing.assert_close(torch.from_numpy(values), whole.topk(3)[0])
    assert (rows == whole.topk(3)[1].numpy()).all()
    some = np.array([3, 4, 30])
    near = most_similar(query.numpy(), reference.numpy(), 1, candidates=some, distance=distance)[1]
    assert (near[:, 0] == some[whole[:, some].argmax(1)]).all()


def test_memory_is_bounded():
    """The peak grows by far less than the correlations of all pairs, 4 bytes for each shift, would take."""
    code = """
import resource, torch
from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.evaluation import rank_queries
def grown(count, before):
    query, reference = torch.randn(2, count, 32 * 2)
    rank_queries(query, reference, distance=CircularCorrelation((1, 32, 2)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
small = grown(300, 0)
print(grown(2000, small))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * 1024 < 2000 * 2000 * 32 * 4 / 8
