"""Pittsburgh in both of its layouts: what is read, what is right by a plain loop, and every fault named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat
from trees_places import Written, draw_pitts, write_dbstruct, write_named, write_pitts_lists

from geodtr_plugin.datasets import load_split, pitts
from geodtr_plugin.datasets.check import check_dataset
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError, UnknownNameError


@pytest.fixture
def root(tmp_path):
    write_pitts_lists(tmp_path)
    return tmp_path


@pytest.fixture
def named(tmp_path, monkeypatch):
    parts = ("train", "val", "test")
    written = {part: write_named(tmp_path, part, draw_pitts(part)) for part in parts}
    counts = {part: (len(one.queries), len(one.references)) for part, one in written.items()}
    monkeypatch.setitem(pitts.RELEASED, "pitts30k", counts)
    return tmp_path, written


def loop(split, radius: float) -> list[list[int]]:
    """References within the radius of every query, one comparison after another."""
    at, around = split.queries.coordinates, split.references.coordinates
    return [[j for j, r in enumerate(around) if np.sqrt(((q - r) ** 2).sum()) <= radius] for q in at]


def test_the_test_list_is_what_a_plain_loop_says(root):
    split, written = load_split("pitts30k", "test", root), draw_pitts("test")
    assert (len(split.queries), len(split.references)) == (18, 30)
    assert [split.truth.positives[i].tolist() for i in range(18)] == loop(split, 25.0)
    assert np.array_equal(split.queries.coordinates, written.at_queries) and split.queries.coordinate_kind == "metres"
    assert (split.ks, split.centred, split.exclusion_radius, split.truth.groups) == ((1, 5, 10, 20), False, None, None)
    assert split.queries.read(3).shape == (3, 24, 32) and split.references.read(29).shape == (3, 24, 32)
    assert "6 of 18 queries have no reference within 25 m and count as not found" in split.notes
    assert split.provenance == "custom"  # not 6,816 and 10,000


def test_training_pairs_are_the_nearest_within_10_m_of_the_same_view(root):
    split = load_split("pitts30k", "train", root)
    right = loop(split, 10.0)
    assert [split.truth.positives[i].tolist() for i in range(18)] == right
    assert split.pairs[:, 0].tolist() == [i for i in range(18) if right[i]]
    for query, reference in split.pairs:
        apart = np.linalg.norm(split.references.coordinates - split.queries.coordinates[query], axis=1)
        assert apart[reference] == apart.min()
        assert split.queries.ids[query].partition("_")[2] == split.references.ids[reference].partition("_")[2]
    assert split.exclusion_radius == 25.0 and split.total_pairs == 18
    assert len(np.unique(split.reference_places)) == 5  # the views of a panorama are one place
    assert any("do not train" in note for note in split.notes)


def test_val_is_tested_on_where_it_is_asked_for(root):
    split = load_split("pitts30k", "test", root, part="val")
    assert split.queries.ids[0].startswith("000100") and split.provenance.endswith("val")
    assert any("val list is tested on" in note for note in split.notes)
    assert split.fingerprint() != load_split("pitts30k", "test", root).fingerprint()
    with pytest.raises(UnknownNameError, match="test, val|'val'"):
        load_split("pitts30k", "test", root, part="vall")


@pytest.mark.parametrize(
    ("below", "where"),
    [
        ("", {"lists": "datasets"}),
        ("pitts/raw", {"images": "Pittsburgh/images", "queries": "Pittsburgh/queries"}),
        ("pitts30k/raw_data", {"lists": "datasets"}),
    ],
)
def test_other_arrangements_give_the_same(root, tmp_path, below, where):
    write_pitts_lists(tmp_path / "other" / below, **where)
    theirs, ours = load_split("pitts30k", "test", tmp_path / "other"), load_split("pitts30k", "test", root)
    assert theirs.fingerprint() == ours.fingerprint()
    assert theirs.references.read(4).equal(ours.references.read(4)) and theirs.queries.path(0).is_file()


def test_pitts250k_has_its_own_lists(tmp_path):
    write_pitts_lists(tmp_path, "pitts250k")
    assert len(load_split("pitts250k", "test", tmp_path).references) == 30
    with pytest.raises(DatasetNotFoundError, match=r"lacks pitts30k_test\.mat.*netvlad_v100_datasets.*willow"):
        load_split("pitts30k", "test", tmp_path)


def test_names_of_files_say_the_same_as_lists(named):
    root, written = named
    for name, part, radius in (("train", "train", 10.0), ("test", "test", 25.0), ("test", "val", 25.0)):
        split = load_split("pitts30k", name, root, part="test" if part == "train" else part)
        assert list(split.references.paths) == written[part].references
        assert np.array_equal(split.queries.coordinates, written[part].at_queries)
        assert [split.truth.positives[i].tolist() for i in range(18)] == loop(split, radius)
        assert split.provenance.startswith("original")
    tiles = [[ids[i].split("@")[8] for i in column] for ids, column in (
        (split.queries.ids, split.pairs[:, 0]), (split.references.ids, split.pairs[:, 1]),
    )]  # fmt: skip
    assert tiles[0] == tiles[1]


def test_a_missing_list_is_named_with_where_to_ask(root):
    (root / "pitts30k_test.mat").unlink()
    told = r"Pitts30k in .* is not complete: it lacks pitts30k_test\.mat or datasets/pitts30k_test\.mat.*willow"
    with pytest.raises(DatasetNotFoundError, match=told):
        load_split("pitts30k", "test", root)
    assert len(load_split("pitts30k", "train", root).queries) == 18


def test_nothing_there_names_what_was_looked_for(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"was not found.*no pitts30k_train\.mat.*images/train/database"):
        load_split("pitts30k", "train", tmp_path)


@pytest.mark.parametrize(
    ("lost", "count"), [("queries_real/000/000200_pitch1_yaw1.jpg", 17), ("000/000201_pitch2_yaw5.jpg", 18)]
)
def test_missing_photos_are_named_and_left_out_on_request(root, lost, count):
    (root / lost).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"is not complete: .*the first is {lost}.*--allow-partial"):
        load_split("pitts30k", "test", root)
    split = load_split("pitts30k", "test", root, allow_partial=True)
    assert len(split.queries) == count and len(split.queries) + len(split.references) == 47
    assert any(lost in note for note in split.notes) and split.total_pairs == 18
    assert [split.truth.positives[i].tolist() for i in range(count)] == loop(split, 25.0)


def test_a_damaged_list_is_named(root):
    path = root / "pitts30k_test.mat"
    written, whole = draw_pitts("test"), path.read_bytes()
    write_dbstruct(path, written, counts=(31, 18))
    with pytest.raises(DatasetCorruptError, match=r"pitts30k_test\.mat.*names 30 references and counts 31"):
        load_split("pitts30k", "test", root)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetCorruptError, match=r"pitts30k_test\.mat.*is damaged.*netvlad_v100_datasets"):
        load_split("pitts30k", "test", root)
    savemat(path, {"other": 1})
    with pytest.raises(DatasetCorruptError, match="KeyError"):
        load_split("pitts30k", "test", root)


def test_a_list_leads_to_no_photo_outside(root):
    written = draw_pitts("test")
    write_dbstruct(root / "pitts30k_test.mat", replace(written, queries=["../q.jpg", *written.queries[1:]]))
    with pytest.raises(DatasetCorruptError, match=r"pitts30k_test\.mat.*'\.\./q\.jpg' leads upward"):
        load_split("pitts30k", "test", root)


def test_queries_and_references_of_different_places_are_told(root):
    one, other = draw_pitts("test"), draw_pitts("train")
    moved = Written(one.queries, one.at_queries + 9000, one.references, other.at_references)
    write_dbstruct(root / "pitts30k_test.mat", moved)
    with pytest.raises(DatasetCorruptError, match="No query of Pitts30k test .* has a reference within 25 m"):
        load_split("pitts30k", "test", root)


def test_a_lost_photo_shows_in_the_count_where_no_list_names_it(named):
    root, written = named
    (root / written["test"].references[3]).unlink()
    with pytest.raises(DatasetNotFoundError, match="18 queries and 29 references, released were 18 .* and 30"):
        load_split("pitts30k", "test", root)
    split = load_split("pitts30k", "test", root, allow_partial=True)
    assert len(split.references) == 29 and split.provenance == "custom"
    for path in written["test"].references[10:]:
        (root / path).unlink(missing_ok=True)
    assert load_split("pitts30k", "test", root).provenance == "custom"  # somebody's selection


@pytest.mark.parametrize(
    ("name", "told"),
    [("photo.jpg", "does not say where it was taken"), ("@east@4477000.00@.jpg", "does not say where"),
     ("@0382000.00@3946000.00@54@S@@@x@0@.jpg", "lies in UTM zone 54, but Pitts30k in 17")],
)  # fmt: skip
def test_strange_names_are_named(named, name, told):
    root, written = named
    path = root / written["test"].references[0]
    path.rename(path.parent / name)
    with pytest.raises(DatasetCorruptError, match=f"{name}.*{told}"):
        load_split("pitts30k", "test", root)


def test_the_check_finds_all_sound_and_a_missing_photo(root):
    checked = check_dataset("pitts30k", root)
    assert checked.report.sound, checked.report.lines()
    assert not any("north" in line for line in checked.report.lines())
    lost = root / "queries_real/000/000000_pitch1_yaw1.jpg"
    lost.unlink()
    report = check_dataset("pitts30k", root).report
    assert len(report.faults) == 1 and str(lost) in report.faults[0].line
    assert "11 of 18 pairs are complete" in report.faults[0].line
