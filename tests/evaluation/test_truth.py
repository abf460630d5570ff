from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.evaluation.truth import Ragged, Truth

few = settings(max_examples=60, deadline=None)
lists = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6)


def as_lists(ragged: Ragged) -> list[list[int]]:
    return [ragged[i].tolist() for i in range(len(ragged))]


@few
@given(lists, st.data())
def test_ragged_holds_the_lists_it_was_made_of(rows, data):
    ragged = Ragged.from_lists(rows)
    assert as_lists(ragged) == rows
    assert ragged.counts().tolist() == [len(row) for row in rows]
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5)) if rows else []
    assert as_lists(ragged.take(np.array(picked, np.int64))) == [rows[i] for i in picked]


def test_ragged_rows_can_be_picked_by_mask_slice_and_from_the_end():
    ragged = Ragged.from_lists([[1], [], [2, 3]])
    assert as_lists(ragged.take(np.array([True, False, True]))) == [[1], [2, 3]]
    assert as_lists(ragged.take(slice(1, None))) == [[], [2, 3]]
    assert ragged[-1].tolist() == [2, 3]
    with pytest.raises(IndexError):
        ragged[3]


@pytest.mark.parametrize("offsets", [[], [0, 1], [1, 2], [0, 2, 1, 2]])
def test_ragged_refuses_offsets_that_do_not_fit(offsets):
    with pytest.raises(ValueError, match="offsets"):
        Ragged(np.array([4, 5]), np.array(offsets, np.int64))


def test_diagonal():
    truth = Truth.diagonal(3)
    assert as_lists(truth.positives) == [[0], [1], [2]]
    assert truth.ignored is None
    assert len(Truth.diagonal(0)) == 0


labels = st.integers(-1, 5)


@few
@given(st.lists(st.lists(labels, min_size=3, max_size=3), max_size=6), st.lists(labels, max_size=8))
def test_labels_mean_what_a_plain_loop_says(queries, references):
    truth = Truth.from_labels(np.array(queries, np.int64).reshape(len(queries), 3), references)
    for i, (positive, *semi) in enumerate(queries):
        right = [j for j, label in enumerate(references) if label == positive != -1]
        neither = {j for j, label in enumerate(references) if label in semi and label not in (-1, positive)}
        assert truth.positives[i].tolist() == right
        assert set(truth.ignored[i].tolist()) == neither
    truth.check(len(references))


def test_labels_of_one_column_have_no_neutrals():
    assert Truth.from_labels([7, 8], [8, 7, 7]).ignored is None
    assert as_lists(Truth.from_labels(torch.tensor([[7], [8]]), torch.tensor([8, 7, 7])).positives) == [[1, 2], [0]]


def test_neighbouring_labels_above_2_to_the_24_stay_apart():
    big = 2**24
    assert as_lists(Truth.from_labels([big + 1], [big, big + 1, big + 2]).positives) == [[1]]
    with pytest.raises(TypeError, match="integers"):
        Truth.from_labels(np.array([1.0], np.float32), [1])


def test_labels_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="query labels"):
        Truth.from_labels([1, 2], [[1], [2]])


def test_a_subset_of_queries_and_of_references():
    truth = Truth.from_lists([[0, 3], [1], [2]], [[1], [], [0, 3]])
    taken = truth.take([2, 0])
    assert (as_lists(taken.positives), as_lists(taken.ignored)) == ([[2], [0, 3]], [[0, 3], [1]])
    kept = truth.keep_references([3, 1], num_references=4)
    assert (as_lists(kept.positives), as_lists(kept.ignored)) == ([[0], [1], []], [[1], [], [0]])


@pytest.mark.parametrize(
    ("positives", "ignored", "what"),
    [
        ([[0], [4]], None, "query 1 names reference 4"),
        ([[-1], [0]], None, "query 0 names reference -1"),
        ([[0], [2, 2]], None, "query 1 names reference 2 twice"),
        ([[0], [1]], [[], [1]], "query 1 names reference 1 twice"),
    ],
)
def test_check_names_the_query_and_the_reference(positives, ignored, what):
    truth = Truth.from_lists(positives, ignored)
    with pytest.raises(ValueError, match=what):
        truth.check(4)


def test_neutrals_need_one_row_a_query():
    with pytest.raises(ValueError, match="2 queries"):
        Truth.from_lists([[0], [1]], [[0]])
