"""Damaged images are left out by name; pairs, places, truth and subsets follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from trees import save_jpeg, smooth_noise

from geodtr_plugin.datasets import ImageFiles, Split, Subset
from geodtr_plugin.datasets.readable import readable
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError


@pytest.fixture
def split(tmp_path):
    """Six queries; reference i shows the place of query i, and reference 6 is another view of place 5."""
    for i in range(7):
        save_jpeg(tmp_path / f"aerial/{i}.jpg", smooth_noise("aerial", i, 20, 20))
    for i in range(6):
        save_jpeg(tmp_path / f"ground/{i}.jpg", smooth_noise("ground", i, 10, 30))
    return Split(
        "tiny", "test",
        ImageFiles(tmp_path, [f"ground/{i}.jpg" for i in range(6)]),
        ImageFiles(tmp_path, [f"aerial/{i}.jpg" for i in range(7)]),
        pairs=np.array([[0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [5, 6]]),
        query_places=10 + np.arange(6),
        reference_places=np.array([10, 11, 12, 13, 14, 15, 15]),
        truth=Truth.from_lists([[0], [1], [2], [3], [4], [5, 6]], [[1], [2], [], [4], [], []]),
        subsets=(Subset("even", "queries with even numbers", np.array([0, 2, 4]), None),),
    )  # fmt: skip


def damage(images: ImageFiles, i: int) -> None:
    path = images.root / images.paths[i]
    path.write_bytes(path.read_bytes()[:-20])


def lists(ragged) -> list[list[int]]:
    return [ragged[i].tolist() for i in range(len(ragged))]


def test_a_good_data_set_is_left_as_it_is(split):
    assert readable(split) == (split, [])


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_images_go_with_their_pairs_and_orphaned_queries(split, workers):
    damage(split.queries, 1)
    damage(split.references, 2)  # the only positive of query 2
    damage(split.references, 5)  # query 5 keeps reference 6
    left, sentences = readable(split, workers)
    assert list(left.queries.ids) == ["0", "3", "4", "5"]
    assert list(left.references.ids) == ["0", "1", "3", "4", "6"]
    assert left.pairs.tolist() == [[0, 0], [1, 2], [2, 3], [3, 4]]
    assert left.query_places.tolist() == [10, 13, 14, 15]
    assert left.reference_places.tolist() == [10, 11, 13, 14, 15]
    assert lists(left.truth.positives) == [[0], [2], [3], [4]]
    assert lists(left.truth.ignored) == [[1], [3], [], []]
    assert left.subsets[0].queries.tolist() == [0, 2]
    assert left.total_pairs == 7
    assert torch.equal(left.queries.read(1), split.queries.read(3))
    assert torch.equal(left.references.read(4), split.references.read(6))
    named = ["ground/1.jpg", "aerial/2.jpg", "aerial/5.jpg", "Query 2 of 6, 2,"]
    assert len(sentences) == 4 and all(name in sentence for name, sentence in zip(named, sentences))


def test_a_query_that_never_had_a_positive_stays(split):
    lonely = split.keep(np.arange(6), np.array([0, 1, 2, 3, 4]))
    damage(split.references, 0)
    left, sentences = readable(lonely)
    assert list(left.queries.ids) == ["1", "2", "3", "4", "5"] and len(sentences) == 2


def test_a_missing_image_is_no_damaged_one(split):
    (split.queries.root / "ground/3.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"3\.jpg"):
        readable(split)


def test_nothing_left_is_an_error(split):
    for i in range(6):
        damage(split.queries, i)
    with pytest.raises(DatasetCorruptError, match=r"No image of tiny test.*0\.jpg"):
        readable(split)
