"""Repeated places of CVUSA: the cleaned lists, and the parts of the test split that leaks do not touch."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from trees import cvusa_locations, write_cvusa

from geodtr_plugin.datasets import cvusa_lists, load_split
from geodtr_plugin.datasets.check import check_dataset
from geodtr_plugin.datasets.cvusa_lists import DERIVED
from geodtr_plugin.utils.errors import DatasetNotFoundError

TRAIN, VAL = [3, 1, 7, 2, 8, 9], [5, 4, 6, 10, 11]


@pytest.fixture
def tree(tmp_path):
    """Place 3 is twice in train (as 7), place 5 twice in val (as 4), and places 2 and 8 are in val as 6 and 10."""
    table = cvusa_locations(12)
    table[7 - 1] = table[3 - 1]
    table[4 - 1] = table[5 - 1]
    table[6 - 1, 2:] = table[2 - 1, 2:]
    table[10 - 1] = table[8 - 1]
    return write_cvusa(tmp_path / "CVUSA", TRAIN, VAL, locations=table)


def write_list(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"bingmap/19/{i:07d}.jpg,streetview/panos/{i:07d}.jpg,streetview/annotations/{i:07d}.png\n" for i in ids)
    path.write_text("".join(rows))
    return path


def ids(split):
    return [int(name) for name in split.queries.ids]


def test_the_test_split_knows_what_training_has_seen_and_what_is_repeated(tree):
    split = load_split("cvusa", "test", tree)
    seen, cleaned = split.subsets
    assert (seen.name, seen.queries.tolist(), seen.references) == ("not_in_training", [0, 1, 4], None)
    assert seen.what.startswith("3 of 5 queries, those whose place is not in the training list")
    assert (cleaned.name, cleaned.queries.tolist()) == ("cleaned", [0, 2, 3, 4])
    assert cleaned.references.tolist() == [0, 2, 3, 4] and cleaned.what.startswith("4 of 5 pairs")
    assert split.notes == ()
    whole = split.truth.take(seen.queries).positives
    assert [row.tolist() for row in whole] == [[0, 1], [0, 1], [4]]
    alone = split.truth.take(cleaned.queries).keep_references(cleaned.references, len(split.references)).positives
    assert [row.tolist() for row in alone] == [[0], [1], [2], [3]]
    assert load_split("cvusa", "train", tree).subsets == ()


def leaks(root):
    return [finding.line for finding in check_dataset("cvusa", root).report.findings if finding.topic == "leaks"]


def test_the_check_tells_the_leaks_and_what_is_left_of_them(tree):
    also = "results also have numbers without them"
    assert leaks(tree) == [
        f"ok    leaks: test: 2 of 5 queries show a place of the training list, under whatever id; {also} "
        "(not_in_training)",
        f"ok    leaks: test: 1 of 5 queries show a place that an earlier pair of the test list shows; {also} (cleaned)",
    ]
    for number in list(load_split("cvusa", "test", tree).queries.ids)[2:4]:
        (tree / f"bingmap/19/{number}.jpg").unlink()
    assert [line.partition(" show ")[0] for line in leaks(tree)] == [
        "ok    leaks: test: none of 3 queries", "ok    leaks: test: 1 of 3 queries"
    ]  # fmt: skip
    assert all("results" not in line for line in leaks(tree)[:1])


def test_subsets_name_the_rows_that_are_left_of_a_partial_gallery(tree):
    (tree / "bingmap/19/0000005.jpg").unlink()
    split = load_split("cvusa", "test", tree, allow_partial=True)
    assert [subset.queries.tolist() for subset in split.subsets] == [[0, 3], [0, 1, 2, 3]]
    assert (len(split.pairs), split.total_pairs) == (4, 5) and "4 of 5 pairs" in split.notes[0]


def test_what_cannot_be_told_is_said(tree):
    (tree / "splits/train-19zl.csv").rename(tree / "train.csv")
    split = load_split("cvusa", "test", tree)
    assert [subset.name for subset in split.subsets] == ["cleaned"]
    assert "without splits/train-19zl.csv nobody can tell" in split.notes[0]
    (tree / "split_locations/all.csv").unlink()
    split = load_split("cvusa", "test", tree)
    assert split.subsets == ()
    assert "without all.csv and numbered ids" in split.notes[0] and "CVPR subset's archive of splits" in split.notes[0]


def test_training_on_every_test_place_leaves_no_subset(tree):
    write_list(tree / "splits/train-19zl.csv", VAL)
    split = load_split("cvusa", "test", tree)
    assert [subset.name for subset in split.subsets] == ["cleaned"]
    assert split.notes == ("every test place is in the training list too",)


def test_the_cleaned_lists_are_made_by_the_authors_rule_where_they_are_not_on_disk(tree):
    train, test = (load_split("cvusa-cleaned", split, tree) for split in ("train", "test"))
    assert (ids(train), ids(test)) == ([3, 1, 2, 8, 9], [5, 6, 10, 11])
    assert train.provenance == test.provenance == f"{DERIVED} from a custom list"
    assert [(s.name, s.queries.tolist()) for s in test.subsets] == [("not_in_training", [0, 3])]
    assert repr(test).startswith("<CVUSA cleaned test: 4 queries")
    assert test.fingerprint() != load_split("cvusa", "test", tree).fingerprint()


def test_the_one_slip_of_the_released_list_is_told(tree, monkeypatch):
    for split in ("train", "val"):
        data = (tree / f"splits/{split}-19zl.csv").read_bytes()
        monkeypatch.setitem(cvusa_lists.PROVENANCE, hashlib.md5(data).hexdigest(), "original")
    train, test = (load_split("cvusa-cleaned", split, tree) for split in ("train", "test"))
    assert train.provenance == test.provenance == DERIVED == "cleaned (derived by rule)"
    assert "34,769" in train.notes[0] and "0025234" in train.notes[0] and test.notes == ()


CLEANED_PLACES = ["splits/cleaned", "splits_cleaned", "cleaned", "CVUSA_cleaned/splits", "splits/my_cleaned_lists"]


@pytest.mark.parametrize("lies_in", CLEANED_PLACES)
def test_cleaned_lists_on_disk_come_first(tree, lies_in):
    write_list(tree / lies_in / "train-19zl.csv", [3, 9])
    write_list(tree / lies_in / "val-19zl.csv", [6, 11])
    train, test = (load_split("cvusa-cleaned", split, tree) for split in ("train", "test"))
    assert (ids(train), ids(test)) == ([3, 9], [6, 11])
    assert train.provenance == "custom" and f"list {lies_in}/train-19zl.csv" in train.layout
    assert [subset.queries.tolist() for subset in test.subsets] == [[0, 1]]  # the cleaned training list has no 2
    assert ids(load_split("cvusa", "test", tree)) == VAL


@pytest.mark.parametrize("path", ["splits/val-19zl.csv", "splits/validation.csv", "splits/new/val-19zl.csv"])
def test_cleaned_lists_are_known_by_their_content(tree, monkeypatch, path):
    data = write_list(tree / path, [11, 5]).read_bytes()
    monkeypatch.setitem(cvusa_lists.PROVENANCE, hashlib.md5(data).hexdigest(), "cleaned")
    split = load_split("cvusa-cleaned", "test", tree.parent)
    assert (ids(split), split.provenance) == ([11, 5], "cleaned")


def test_a_tree_of_the_cleaned_lists_alone(tree, monkeypatch):
    data = write_list(tree / "splits/val-19zl.csv", [11, 5]).read_bytes()
    monkeypatch.setitem(cvusa_lists.PROVENANCE, hashlib.md5(data).hexdigest(), "cleaned")
    assert [s.name for s in load_split("cvusa", "test", tree).subsets] == ["not_in_training"]
    (tree / "splits/train-19zl.csv").unlink()
    split = load_split("cvusa-cleaned", "test", tree)
    assert split.subsets == () and "without the cleaned training list" in split.notes[0]


def test_neither_a_cleaned_list_nor_what_it_is_made_from(tree):
    (tree / "split_locations/all.csv").unlink()
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split("cvusa-cleaned", "train", tree)
    for part in ("cleaned list of CVUSA train", "splits/cleaned/train-19zl.csv", "splits/train-19zl.csv", "all.csv"):
        assert part in str(caught.value)


def test_the_first_of_each_place_is_kept_in_the_order_of_the_list():
    assert cvusa_lists.first_of_each(np.array([9, 2, 9, 5, 2])).tolist() == [0, 1, 3]
