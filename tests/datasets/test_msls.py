"""The val split of MSLS: its two sets of queries, its tables, names of files, and every fault named."""

from __future__ import annotations

import numpy as np
import pytest
from trees_places import CITIES, Written, write_msls, write_named

from geodtr_plugin.datasets import load_split
from geodtr_plugin.datasets.check import check_dataset
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError, UnknownNameError, UserError


@pytest.fixture
def root(tmp_path):
    write_msls(tmp_path)
    return tmp_path


def loop(split) -> list[list[int]]:
    at, around = split.queries.coordinates, split.references.coordinates
    return [[j for j, r in enumerate(around) if np.sqrt(((q - r) ** 2).sum()) <= 25] for q in at]


def draw_named(asked: int = 6) -> Written:
    """Photos of Copenhagen with an own position each."""
    at = np.array(CITIES["cph"]) + np.stack([np.arange(12) * 15.0, np.zeros(12)], axis=1)
    return Written([f"q{i}.jpg" for i in range(asked)], at[:asked] + 3, [f"r{i}.jpg" for i in range(12)], at)


@pytest.mark.parametrize(
    ("queries", "kept"), [("auto", [3, 4, 6, 7]), ("official", [3, 4, 6, 7]), ("all", [1, 2, 3, 4, 5, 6, 7])]
)
def test_the_two_sets_of_queries(root, pretend_released, queries, kept):
    pretend_released("msls-val", 8, 18)
    keys, split = write_msls(root), load_split("msls-val", "test", root, queries=queries)
    assert list(split.queries.ids) == [keys[f"{city}/query"][i] for city in CITIES for i in kept]
    assert list(split.references.ids) == [key for city in CITIES for key in keys[f"{city}/database"][:-1]]
    assert [split.truth.positives[i].tolist() for i in range(len(split.queries))] == loop(split)
    assert (split.truth.positives.counts() > 0).all() == (queries != "all")
    official = queries != "all"
    assert split.provenance == ("original, official queries" if official else "custom, all queries")
    assert any(("give some 4 points of R@1 less" if official else "of 740 are some 4 points") in n for n in split.notes)
    assert split.queries.read(0).shape == (3, 24, 32) and split.ks == (1, 5, 10, 20)


def test_names_of_files(tmp_path, pretend_released):
    written = write_named(tmp_path / "images_first", "val", draw_named(), "33")
    pretend_released("msls-val", 740, 12)
    split = load_split("msls-val", "test", tmp_path / "images_first")
    assert list(split.references.paths) == written.references and split.provenance == "custom, all queries"
    assert [split.truth.positives[i].tolist() for i in range(6)] == loop(split)
    pretend_released("msls-val", 6, 12)  # a selection like the authors'
    assert load_split("msls-val", "test", tmp_path / "images_first").provenance == "original, official queries"
    with pytest.raises(DatasetNotFoundError, match="subtask_index.csv.*Use the archive as it was released"):
        load_split("msls-val", "test", tmp_path / "images_first", queries="official")
    write_named(tmp_path / "without", "val", draw_named(), "33", home="{}")
    assert load_split("msls-val", "test", tmp_path / "without").references.ids[3] == split.references.ids[3]
    (tmp_path / "images_first" / written.references[0]).unlink()
    with pytest.raises(DatasetNotFoundError, match="6 queries and 11 references, released were 6 queries and 12"):
        load_split("msls-val", "test", tmp_path / "images_first")


def test_it_is_not_for_training_and_names_are_checked(root):
    with pytest.raises(UserError, match="MSLS val is for testing only.*--train pitts30k"):
        load_split("msls-val", "train", root)
    with pytest.raises(UnknownNameError, match="'official'"):
        load_split("msls-val", "test", root, queries="oficial")


@pytest.mark.parametrize("table", ["postprocessed", "raw", "subtask_index"])
def test_a_missing_table_is_named(root, table):
    (root / f"train_val/sf/query/{table}.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match=f"lacks .*sf/query/{table}.csv.*mapillary.com"):
        load_split("msls-val", "test", root)


def test_a_missing_city_and_a_missing_photo_are_named(root):
    lost = root / "train_val/sf/database/images" / f"sfd_-{3:019d}.jpg"
    lost.unlink()
    with pytest.raises(DatasetNotFoundError, match=f"0 of 8 queries and 1 of 18 references are missing.*{lost.name}"):
        load_split("msls-val", "test", root)
    assert len(load_split("msls-val", "test", root, allow_partial=True).references) == 17
    (root / "train_val/sf").rename(root / "train_val/elsewhere")
    with pytest.raises(DatasetNotFoundError, match="is not complete: it lacks train_val/sf"):
        load_split("msls-val", "test", root)


def test_a_table_leads_to_no_photo_outside(root):
    for file in ("raw.csv", "postprocessed.csv"):
        path = root / "train_val/cph/query" / file
        path.write_text(path.read_text().replace("cphq_-", "../../../cphq_-"))
    with pytest.raises(DatasetCorruptError, match=r"postprocessed\.csv in .* names '\.\./.*, which leads upward"):
        load_split("msls-val", "test", root)


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("raw.csv", lambda text: text.replace(",pano", ",panorama"), "has no column pano"),
        ("raw.csv", lambda text: text.replace("cphq", "other", 1), "name different photos"),
        ("subtask_index.csv", lambda text: text[: text.rindex("7,")], "has 7 rows and raw.csv 8"),
        ("postprocessed.csv", lambda text: text.replace(",34", ",x34"), "position that is no number"),
    ],
)
def test_a_damaged_table_is_named(root, file, change, told):
    path = root / "train_val/cph/query" / file
    path.write_bytes(change(path.read_bytes().decode()).encode())
    with pytest.raises(DatasetCorruptError, match=told):
        load_split("msls-val", "test", root)


def test_the_check_finds_all_sound(root):
    for queries in ("official", "all"):
        report = check_dataset("msls-val", root, queries=queries).report
        assert report.sound, report.lines()
