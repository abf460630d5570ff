"""Several training sets as one split: rows, places, truth and images against those of the sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.datasets import ImageArray, PairDataset, Split, join_splits
from geodtr_plugin.datasets.cache import CachedImages, cached
from geodtr_plugin.datasets.joined import parts_of, with_equal_tiles
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.utils.errors import NotSquareError


def make_split(name: str, pairs: int, extra: int = 0, tile: int = 6, seed: int = 0, ignored: bool = False) -> Split:
    """A split of pairs in random order whose places are large and negative, with `extra` tiles that no query shows."""
    draw = np.random.default_rng(seed)
    tiles = pairs + extra
    shows = draw.permutation(tiles)[:pairs]
    labels = draw.permutation(tiles) * 2**40 - 2**42
    images = [draw.integers(0, 256, size, np.uint8) for size in ((pairs, 4, 8, 3), (tiles, tile, tile, 3))]
    other = [[int((i + 1) % tiles)] for i in shows] if ignored else None
    return Split(
        name=name, split="train", queries=ImageArray(images[0], [f"{name}-q{i}" for i in range(pairs)]),
        references=ImageArray(images[1], [f"{name}-r{i}" for i in range(tiles)]),
        pairs=np.stack([np.arange(pairs), shows], axis=1), query_places=labels[shows], reference_places=labels,
        truth=Truth.from_lists(shows[:, None], other), notes=("a note",),
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 7), st.integers(0, 3), st.booleans()), min_size=2, max_size=4))
def test_items_are_those_of_the_sets_and_places_are_distinct(shapes):
    splits = [make_split(f"set{k}", n, extra, seed=k, ignored=ign and n + extra > 1)
              for k, (n, extra, ign) in enumerate(shapes)]  # fmt: skip
    joined = join_splits(splits)
    items = PairDataset(joined)
    sets = [PairDataset(split) for split in splits]
    expected = [(k, own[i]) for k, own in enumerate(sets) for i in range(len(own))]
    assert len(items) == len(expected) == len(joined.pairs)
    numbers: dict[int, tuple[int, int]] = {}
    for item, (k, (query, reference, place)) in zip(map(items.__getitem__, range(len(items))), expected):
        assert torch.equal(item[0], query) and torch.equal(item[1], reference)
        assert numbers.setdefault(item[2], (k, place)) == (k, place)  # one number, one place of one set
    assert len(set(numbers.values())) == len(numbers)
    first = 0
    for k, split in enumerate(splits):  # what is right, and what is neither, moves with the gallery
        for row in range(len(split.queries)):
            at = row + sum(len(s.queries) for s in splits[:k])
            assert (joined.truth.positives[at] == split.truth.positives[row] + first).all()
            if joined.truth.ignored is not None:
                own = [] if split.truth.ignored is None else split.truth.ignored[row] + first
                assert list(joined.truth.ignored[at]) == list(own)
        first += len(split.references)
    assert list(joined.queries.ids) == [name for split in splits for name in split.queries.ids]


def test_a_single_split_is_left_alone():
    split = make_split("one", 5)
    assert join_splits([split]) is split and parts_of(split) == (split,)
    assert with_equal_tiles(split) == (split, None)
    with pytest.raises(ValueError, match="no split"):
        join_splits([])


def test_the_sets_keep_what_belongs_to_them():
    one, two = make_split("one", 3), replace(make_split("two", 4, seed=1), centred=False, exclusion_radius=25.0)
    joined = join_splits([one, two])
    assert not joined.centred and joined.exclusion_radius is None and joined.total_pairs == 7
    assert [(part.name, part.exclusion_radius) for part in parts_of(joined)] == [("one", None), ("two", 25.0)]
    assert np.array_equal(np.concatenate([part.query_places for part in joined.parts]), joined.query_places)
    assert joined.notes == ("one: a note", "two: a note")
    with pytest.raises(TypeError, match="before they are joined"):
        joined.limit(2)


def test_tiles_for_the_polar_transform_get_one_size():
    one, two = make_split("one", 3, tile=6), make_split("two", 4, tile=9, seed=1)
    joined, size = with_equal_tiles(join_splits([one, two]))
    assert size == 6 and {joined.references.read(i).shape for i in range(7)} == {(3, 6, 6)}
    assert torch.equal(joined.references.read(1), one.references.read(1))
    wide = replace(two, references=ImageArray(np.zeros((4, 9, 12, 3), np.uint8)))
    joined, _ = with_equal_tiles(join_splits([one, wide]))
    with pytest.raises(NotSquareError):  # it is not squeezed into a square
        ImageTransform(4, 8, polar=True).on_load(joined.references.read(5))


def test_every_set_has_a_cache_of_its_own(tmp_path):
    splits = [make_split("one", 3), make_split("two", 4, seed=1)]
    transforms = ImageTransform(4, 8), ImageTransform(6, 6)
    alone = cached(splits[1], *transforms, folder=tmp_path)
    joined = cached(join_splits(splits), *transforms, folder=tmp_path)
    assert all(isinstance(part.queries, CachedImages) for part in joined.parts)
    assert joined.parts[1].queries.file == alone.queries.file
    assert torch.equal(joined.queries.read(4), splits[1].queries.read(1))
