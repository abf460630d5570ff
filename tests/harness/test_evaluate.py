"""Numbers of a part of a test set."""

from __future__ import annotations

import numpy as np
import torch

from geodtr_plugin import Truth, recall
from geodtr_plugin.datasets.base import Subset
from geodtr_plugin.harness.evaluate import most_similar, restrict


def test_a_part_of_the_queries_meets_the_whole_gallery():
    query, reference = torch.randn(6, 4), torch.randn(6, 4)
    part = restrict(query, reference, Truth.diagonal(6), Subset("part", "Some.", np.array([1, 4]), None))
    rows = [recall(query[i : i + 1], reference, Truth.from_lists([[i]]))["median_rank"] for i in (1, 4)]
    assert recall(*part)["median_rank"] == np.mean(rows) and part[1] is reference


def test_a_smaller_gallery_is_ranked_anew():
    query, reference = torch.randn(6, 4), torch.randn(6, 4)
    kept = np.array([0, 2, 3])
    part = restrict(query, reference, Truth.diagonal(6), Subset("part", "Fewer.", kept, kept))
    assert recall(*part) == recall(query[kept], reference[kept])


def test_examples_show_the_most_similar_references():
    query = torch.nn.functional.normalize(torch.randn(9, 4), dim=1)
    rows, top = most_similar(query, query)
    assert rows.tolist() == [0, 2, 5, 8] and top.shape == (4, 5)
    assert (top[:, 0] == rows).all()
