from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
import torch
from trees import cvusa_locations, smooth_noise, write_cvusa

from geodtr_plugin.datasets import cvusa_lists, load_split
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError

TRAIN, VAL = [3, 1, 7, 2, 8, 9], [5, 4, 6]


def positives(split):
    return [split.truth.positives[i].tolist() for i in range(len(split.truth))]


@pytest.fixture
def tree(tmp_path):
    return write_cvusa(tmp_path / "CVUSA")


def test_the_lists_are_read_in_their_order(tree):
    train, test = load_split("cvusa", "train", tree), load_split("cvusa", "test", tree)
    assert (train.query_places.tolist(), test.query_places.tolist()) == (TRAIN, VAL)
    assert train.pairs.tolist() == [[i, i] for i in range(6)]
    assert positives(test) == [[0], [1], [2]]
    assert list(test.references.ids) == ["0000005", "0000004", "0000006"]
    assert test.references.paths[0] == "bingmap/19/0000005.jpg"
    assert test.queries.paths[0] == "streetview/panos/0000005.jpg"
    assert (train.provenance, train.percent_rounding, train.centred, train.notes) == ("custom", "floor", True, ())
    assert repr(test) == "<CVUSA test: 3 queries, 3 references, custom split>"


def test_images_have_their_stored_size_and_are_not_cropped(tree):
    split = load_split("cvusa", "test", tree)
    panorama = torch.from_numpy(smooth_noise("ground", 5, 24, 123).copy()).permute(2, 0, 1)
    assert (split.queries.read(0).int() - panorama.int()).abs().max() < 32
    assert tuple(split.references.read(0).shape) == (3, 75, 75)


def test_native_sizes(tmp_path):
    split = load_split("cvusa", "train", write_cvusa(tmp_path, [1], [2], smooth_noise, (224, 1232), (750, 750)))
    assert tuple(split.queries.read(0).shape) == (3, 224, 1232)
    assert tuple(split.references.read(0).shape) == (3, 750, 750)


LAYOUTS = [".", "dataset", "CVUSA", "cvusa/dataset", "CVPR_subset", "CVUSA/CVPR_subset", "my_cvusa_copy"]


@pytest.mark.parametrize("lies_in", LAYOUTS)
def test_the_folder_is_found_in_every_layout(tmp_path, lies_in):
    base = tmp_path / "data"
    folder = write_cvusa(base / lies_in)
    split = load_split("cvusa", "test", base)
    assert split.layout.startswith(f"CVPR subset in {folder}")
    assert split.fingerprint() == load_split("cvusa", "test", folder).fingerprint()


@pytest.mark.parametrize("given", ["CVUSA/bingmap", "CVUSA/splits", "CVACT"])
def test_the_folder_is_found_one_folder_up_and_beside(tmp_path, given):
    folder = write_cvusa(tmp_path / "CVUSA")
    (tmp_path / given).mkdir(exist_ok=True)
    assert str(folder) in load_split("cvusa", "test", tmp_path / given).layout


def test_the_environment_names_the_folder(tree, monkeypatch):
    monkeypatch.setenv("GEODTR_DATA", str(tree.parent))
    assert len(load_split("cvusa", "test").queries) == 3


def test_a_relative_root_and_a_home(tree, monkeypatch):
    monkeypatch.chdir(tree.parent)
    monkeypatch.setenv("HOME", str(tree.parent))
    for root in ("CVUSA", "~/CVUSA", "."):
        assert str(tree) in load_split("cvusa", "test", root).layout


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "  \n", "\n\n", " \t\r\n\r\n"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_lists_that_went_through_other_systems_read_the_same(tmp_path, tree, line_end, slash):
    other = write_cvusa(tmp_path / "other", line_end=line_end, slash=slash)
    theirs, ours = load_split("cvusa", "train", other), load_split("cvusa", "train", tree)
    assert theirs.fingerprint() == ours.fingerprint()
    assert list(theirs.queries.paths) == list(ours.queries.paths)
    assert list(theirs.references.paths) == list(ours.references.paths)


def test_a_byte_order_mark_dot_paths_and_a_missing_annotation_column(tree):
    (tree / "splits/val-19zl.csv").write_bytes(
        b"\xef\xbb\xbf./bingmap/19/0000005.jpg , streetview/panos/0000005.jpg\n"
    )
    split = load_split("cvusa", "test", tree)
    assert split.references.paths[0] == "bingmap/19/0000005.jpg"
    assert split.queries.paths[0] == "streetview/panos/0000005.jpg"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "  \n\n"])
def test_released_lists_are_recognised_whatever_their_line_ends(tmp_path, monkeypatch, line_end):
    released = write_cvusa(tmp_path / "released") / "splits/val-19zl.csv"
    md5 = hashlib.md5(released.read_bytes()).hexdigest()
    monkeypatch.setitem(cvusa_lists.PROVENANCE, md5, "original")
    split = load_split("cvusa", "test", write_cvusa(tmp_path / "mine", line_end=line_end))
    assert split.provenance == "original"
    shorter = write_cvusa(tmp_path / "shorter", val=VAL[:2], line_end=line_end)
    assert load_split("cvusa", "test", shorter).provenance == "custom"


LOCATIONS = ["split_locations/all.csv", "split_locations/split/all.csv", "all.csv"]


@pytest.mark.parametrize("locations_file", LOCATIONS)
def test_coordinates_are_the_rows_of_the_ids(tmp_path, locations_file):
    table = cvusa_locations(12)
    split = load_split("cvusa", "test", write_cvusa(tmp_path, locations=table, locations_file=locations_file))
    rows = table[np.array(VAL) - 1]
    assert np.array_equal(split.references.coordinates, rows[:, :2])
    assert np.array_equal(split.queries.coordinates, rows[:, 2:4])
    assert split.queries.coordinate_kind == split.references.coordinate_kind == "latlon"
    assert locations_file in split.layout
    assert split.query_places.tolist() == VAL


def test_without_all_csv_places_are_ids(tree):
    split = load_split("cvusa", "test", tree)
    assert split.queries.coordinates is split.queries.coordinate_kind is None
    assert split.query_places.tolist() == VAL
    assert "coordinates unknown" in split.layout


def test_ids_of_one_panorama_are_one_place_over_both_splits(tmp_path):
    table = cvusa_locations(12)
    table[7 - 1] = table[3 - 1]  # both in train
    table[4 - 1] = table[5 - 1]  # both in val
    table[6 - 1, 2:] = table[2 - 1, 2:]  # one in each; only the second position and the heading agree
    table[9 - 1, :4] = table[8 - 1, :4]  # the heading differs: another panorama
    write_cvusa(tmp_path, locations=table)
    train, test = load_split("cvusa", "train", tmp_path), load_split("cvusa", "test", tmp_path)
    assert train.query_places.tolist() == train.reference_places.tolist() == [3, 1, 3, 2, 8, 9]
    assert test.query_places.tolist() == [4, 4, 2]
    assert positives(train) == [[0, 2], [1], [0, 2], [3], [4], [5]]
    assert positives(test) == [[0, 1], [0, 1], [2]]


def test_only_the_list_of_the_split_is_needed(tree):
    (tree / "splits/train-19zl.csv").unlink()
    assert len(load_split("cvusa", "test", tree).queries) == 3
    with pytest.raises(DatasetNotFoundError, match=r"it lacks splits/train-19zl\.csv.*35,532 rows.*split archive"):
        load_split("cvusa", "train", tree)


def test_a_missing_val_list_is_named_with_its_rows(tree):
    (tree / "splits/val-19zl.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"splits/val-19zl\.csv.*8,884 rows"):
        load_split("cvusa", "test", tree)


def test_a_wrong_root_lists_what_was_looked_for_where_and_what_to_do(tmp_path):
    (tmp_path / "empty/CVUSA").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split("cvusa", "test", tmp_path / "empty")
    looked = [f"{tmp_path}/empty (no bingmap/19)", f"{tmp_path}/empty/CVUSA (no bingmap/19)"]
    for part in (*looked, "MVRL", "--data-root", "GEODTR_DATA"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_holds_a_part_is_named_with_all_it_lacks(tmp_path):
    folder = tmp_path / "mine/CVUSA"
    (folder / "bingmap/19").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split("cvusa", "test", tmp_path / "mine")
    assert f"CVUSA in {folder} is not complete: it lacks streetview/panos, splits/val-19zl.csv." in str(caught.value)


def test_a_root_that_is_not_there_is_not_replaced_by_its_neighbour(tree):
    with pytest.raises(DatasetNotFoundError, match="There is no folder .*CVUSB"):
        load_split("cvusa", "test", tree.parent / "CVUSB")


def test_no_root_at_all(monkeypatch, tree):
    monkeypatch.delenv("GEODTR_DATA", raising=False)
    with pytest.raises(DatasetNotFoundError, match="--data-root or in GEODTR_DATA"):
        load_split("cvusa", "test")
    monkeypatch.setenv("GEODTR_DATA", str(tree.parent / "gone"))
    with pytest.raises(DatasetNotFoundError, match="gone, which GEODTR_DATA names"):
        load_split("cvusa", "test")


@pytest.mark.parametrize("part", ["train", "test"])
def test_missing_images_are_counted_and_the_first_is_named(tree, part):
    first, last = (TRAIN if part == "train" else VAL)[0], (TRAIN if part == "train" else VAL)[-1]
    (tree / f"bingmap/19/{last:07d}.jpg").unlink()
    (tree / f"streetview/panos/{last:07d}.jpg").unlink()
    (tree / f"streetview/panos/{first:07d}.jpg").unlink()
    total = 6 if part == "train" else 3
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split("cvusa", part, tree)
    text = str(caught.value)
    assert f"{total - 2} of {total} pairs" in text
    assert f"2 of {total} panoramas and 1 of {total} aerials are missing" in text
    assert f"the first is streetview/panos/{first:07d}.jpg" in text
    assert "--allow-partial" in text

    split = load_split("cvusa", part, tree, allow_partial=True)
    assert len(split.queries) == len(split.references) == total - 2
    assert f"{total - 2} of {total} pairs" in split.notes[0]
    assert last not in split.query_places


def test_no_complete_pair_is_an_error_even_if_partial_is_allowed(tree):
    for path in (tree / "streetview/panos").iterdir():
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match="0 of 3 pairs"):
        load_split("cvusa", "test", tree, allow_partial=True)


def test_folders_are_listed_once_and_files_never_asked_for(tree, monkeypatch):
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path=".": listed.append(str(path)) or scandir(path))
    load_split("cvusa", "train", tree)
    assert sorted(path for path in listed if "bingmap" in path or "panos" in path) == [
        str(tree / "bingmap/19"),
        str(tree / "streetview/panos"),
    ]


@pytest.mark.parametrize("line", ["bingmap/19/0000005.jpg", ",streetview/panos/0000005.jpg", "bingmap/19/1.jpg,,x"])
def test_a_line_without_two_paths_is_named(tree, line):
    good = "bingmap/19/0000005.jpg,streetview/panos/0000005.jpg,x\n"
    (tree / "splits/val-19zl.csv").write_text(f"{good}{line}\n")
    with pytest.raises(DatasetCorruptError, match=r"Line 2 of .*val-19zl\.csv"):
        load_split("cvusa", "test", tree)


@pytest.mark.parametrize("path", ["../0000005.jpg", "bingmap/../../0000005.jpg", "/0000005.jpg", "C:\\0000005.jpg"])
def test_a_list_leads_to_no_file_outside(tree, path):
    (tree.parent / "0000005.jpg").write_bytes((tree / "bingmap/19/0000005.jpg").read_bytes())
    (tree / "splits/val-19zl.csv").write_text(f"{path},streetview/panos/0000005.jpg\n")
    with pytest.raises(DatasetCorruptError, match=r"Line 1 of .*val-19zl\.csv .*which (leads upward|is absolute)"):
        load_split("cvusa", "test", tree)


@pytest.mark.parametrize("digits", [30, 5000])
def test_ids_beyond_all_numbers_are_names(tree, digits):
    np.savetxt(tree / "all.csv", cvusa_locations(9), delimiter=",")
    line = f"bingmap/19/0000005.jpg,streetview/panos/{'9' * digits}.jpg\n"
    (tree / "splits/val-19zl.csv").write_text(line)
    with pytest.raises(DatasetNotFoundError, match="0 of 1 pairs are there"):
        load_split("cvusa", "test", tree)


def test_an_empty_list(tree):
    (tree / "splits/val-19zl.csv").write_text("\n\n")
    for locations in (None, cvusa_locations(3)):
        if locations is not None:
            np.savetxt(tree / "all.csv", locations, delimiter=",")
        with pytest.raises(DatasetCorruptError, match="no pair"):
            load_split("cvusa", "test", tree)


@pytest.mark.parametrize(
    ("content", "what"),
    [("1,2,3,4,north\n", "no table of numbers"), ("1,2,3,4\n", "4 columns"), ("1,2,3,4,5\n", "1 rows.*id 6")],
)
def test_a_damaged_all_csv(tree, content, what):
    (tree / "all.csv").write_text(content)
    with pytest.raises(DatasetCorruptError, match=what):
        load_split("cvusa", "test", tree)


def test_own_lists_may_have_names_for_ids(tree):
    for place, name in {5: "bridge", 4: "bank"}.items():
        for folder in ("bingmap/19", "streetview/panos"):
            (tree / folder / f"{place:07d}.jpg").rename(tree / folder / f"{name}.jpg")
    names = ["bridge", "bank", "bridge"]
    text = "".join(f"bingmap/19/{name}.jpg,streetview/panos/{name}.jpg\n" for name in names)
    (tree / "splits/val-19zl.csv").write_text(text)
    np.savetxt(tree / "all.csv", cvusa_locations(3), delimiter=",")
    split = load_split("cvusa", "test", tree)
    assert split.query_places.tolist() == [0, 1, 0]
    assert split.queries.coordinates is None


def test_a_truncated_jpeg_is_found_when_it_is_read(tree):
    path = tree / "bingmap/19/0000004.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    split = load_split("cvusa", "test", tree)
    with pytest.raises(UserError, match=r"Image 1 of 3, .*bingmap/19/0000004\.jpg, is damaged"):
        split.references.read(1)
