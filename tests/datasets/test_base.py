from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from geodtr_plugin.datasets import ImageArray, ImageDataset, PairDataset, Split, Subset
from geodtr_plugin.evaluation.truth import Truth


def make_split(queries=(10, 11, 12, 10), references=(10, 11, 12, 10), pairs=None, split="train", **fields) -> Split:
    """A split over blank pictures; picture i of the queries is painted i, of the references 100 + i."""
    query_places, reference_places = np.array(queries), np.array(references)
    if pairs is None:
        pairs = np.stack([np.arange(len(queries))] * 2, axis=1)
    paint = lambda first, n: np.broadcast_to(  # noqa: E731
        np.arange(first, first + n, dtype=np.uint8)[:, None, None, None], (n, 4, 8, 3)
    )
    fields.setdefault("truth", Truth.from_labels(query_places, reference_places))
    return Split(
        name="cvusa",
        split=split,
        queries=ImageArray(paint(0, len(queries))),
        references=ImageArray(paint(100, len(references))),
        pairs=pairs,
        query_places=query_places,
        reference_places=reference_places,
        **fields,
    )


@pytest.fixture
def offset_split() -> Split:
    """As VIGOR: two queries share a reference, semi-positives are ignored, the last reference is a distractor."""
    return make_split(
        queries=(5, 5, 7),
        references=(6, 5, 7, 8),
        pairs=[[0, 1], [1, 1], [2, 2]],
        truth=Truth.from_lists([[1], [1], [2]], [[0], [2], []]),
    )


def test_repr_names_the_data_set_and_counts():
    assert repr(make_split(provenance="original")) == "<CVUSA train: 4 pairs, original split>"
    assert repr(make_split(split="test")) == "<CVUSA test: 4 queries, 4 references>"
    assert repr(replace(make_split(), name="my-city")) == "<my-city train: 4 pairs>"


def test_repeats_of_a_place_are_each_other_s_positives():
    truth = make_split().truth
    assert [truth.positives[i].tolist() for i in range(4)] == [[0, 3], [1], [2], [0, 3]]


def test_the_fingerprint_changes_with_what_is_scored_and_with_nothing_else():
    split = make_split()
    subset = Subset("unseen", "what training has not seen", [1, 2])
    same = replace(split, layout="elsewhere", notes=("copied",), subsets=(subset,), exclusion_radius=25, total_pairs=9)
    others = [
        make_split(queries=(10, 11, 12, 13), references=(10, 11, 12, 13)),
        make_split(truth=Truth.diagonal(4)),
        make_split(truth=Truth.from_lists([[0, 3], [1], [2], [0, 3]], [[]] * 4)),
        replace(split, pairs=split.pairs[:3]),
        replace(split, queries=ImageArray(split.queries.array, ids="abcd")),
        replace(split, references=ImageArray(split.references.array, ids="abcd")),
    ]
    assert same.fingerprint() == split.fingerprint()
    assert len({split.fingerprint(), *(other.fingerprint() for other in others)}) == 7


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_first_pairs_and_their_images(n):
    split = make_split().limit(n)
    assert (len(split.pairs), len(split.queries), len(split.references)) == (n, n, n)
    assert split.pairs.tolist() == [[i, i] for i in range(n)]
    assert [split.truth.positives[i].tolist() for i in range(n)] == [[i] for i in range(n)]
    assert split.references.read(n - 1)[0, 0, 0] == 100 + n - 1
    assert split.notes == (f"limited to the first {n} of 4 pairs",)


def test_a_limit_keeps_shared_references_once_and_ignored_ones_but_no_distractors(offset_split):
    split = offset_split.limit(2)
    assert split.pairs.tolist() == [[0, 1], [1, 1]]
    assert split.reference_places.tolist() == [6, 5, 7]
    assert [split.truth.ignored[i].tolist() for i in range(2)] == [[0], [2]]


def test_a_limit_above_the_number_of_pairs_changes_nothing_and_zero_is_refused():
    split = make_split()
    assert split.limit(4) is split
    with pytest.raises(ValueError, match="0 pairs"):
        split.limit(0)


def test_a_limit_keeps_what_is_left_of_the_subsets():
    subsets = (Subset("all", "", [1, 2, 3]), Subset("part", "", [1, 3], [1, 3]), Subset("last", "", [3]))
    limited = make_split(queries=range(4), references=range(4), subsets=subsets, total_pairs=5).limit(3)
    assert [(s.name, s.queries.tolist()) for s in limited.subsets] == [("all", [1, 2]), ("part", [1])]
    assert limited.subsets[0].references is None and limited.subsets[1].references.tolist() == [1]
    assert limited.total_pairs == 5


def test_rows_of_a_subset_are_renumbered_with_the_images(offset_split):
    split = replace(offset_split, subsets=(Subset("part", "", [2], [2, 3]),), pairs=[[2, 2], [0, 1]]).limit(1)
    assert (split.subsets[0].queries.tolist(), split.subsets[0].references.tolist()) == ([0], [0])


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"subsets": (Subset("s", "", [4]),)}, "'s' does not name rising rows below 4"),
        ({"subsets": (Subset("s", "", [1, 0]),)}, "rising"),
        ({"subsets": (Subset("s", "", [0], [-1, 2]),)}, "rising"),
        ({"subsets": (Subset("s", "", [0]), Subset("s", "", [1]))}, "same name"),
        ({"total_pairs": 3}, "3 pairs when 4"),
        ({"split": "val"}, "split must be one of train, test"),
        ({"pairs": [[0, 4]]}, "not there"),
        ({"pairs": [[-1, 0]]}, "not there"),
        ({"pairs": [[0, 1]]}, "same place label"),
        ({"truth": Truth.diagonal(3)}, "truth of 3"),
        ({"truth": Truth.from_lists([[0], [1], [2], [4]])}, "reference 4"),
    ],
)
def test_a_split_that_contradicts_itself_is_refused(fields, what):
    with pytest.raises(ValueError, match=what):
        make_split(**fields)


def test_places_need_one_label_an_image():
    split = make_split()
    with pytest.raises(ValueError, match="one place label"):
        replace(split, query_places=split.query_places[:3])
    with pytest.raises(TypeError, match="integers"):
        replace(split, query_places=split.query_places.astype(np.float32))


class Halved:
    """A transform that keeps the left half."""

    def on_load(self, image):
        return image[:, :, : image.shape[2] // 2]


def test_pairs_load_as_pml_wants_them(offset_split):
    dataset = PairDataset(offset_split, query_transform=Halved())
    query, reference, place = dataset[1]
    assert (query.dtype, tuple(query.shape), tuple(reference.shape)) == (torch.uint8, (3, 4, 4), (3, 4, 8))
    assert (query[0, 0, 0], reference[0, 0, 0], place) == (1, 101, 5)
    assert dataset.places.tolist() == [5, 5, 7]
    queries, references, places = next(iter(DataLoader(dataset, batch_size=3)))
    assert (places.dtype, places.tolist()) == (torch.int64, [5, 5, 7])
    assert references[:, 0, 0, 0].tolist() == [101, 101, 102]
    assert queries.dtype == torch.uint8


def test_place_labels_above_2_to_the_24_survive_the_loader():
    big = 2**24 + 1
    batch = next(iter(DataLoader(PairDataset(make_split((big, big + 1), (big, big + 1))), batch_size=2)))
    assert batch[2].tolist() == [big, big + 1]


def test_images_load_with_row_numbers_or_labels(offset_split):
    images = offset_split.references
    assert [ImageDataset(images)[i][1] for i in range(4)] == [0, 1, 2, 3]
    image, label = ImageDataset(images, Halved(), labels=offset_split.reference_places)[2]
    assert (tuple(image.shape), label) == ((3, 4, 4), 7)
    with pytest.raises(ValueError, match="4 images came with 2 labels"):
        ImageDataset(images, labels=[1, 2])


def test_a_split_can_be_sent_to_a_worker(offset_split):
    again = pickle.loads(pickle.dumps(offset_split.limit(2)))
    assert again.fingerprint() == offset_split.limit(2).fingerprint()
    assert torch.equal(again.queries.read(1), offset_split.queries.read(1))
