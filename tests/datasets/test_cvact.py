from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from trees import NEVER_RELEASED, panorama_ids, smooth_noise, write_act_mat, write_cvact

from geodtr_plugin.datasets import load_split
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError, UnknownNameError

TRAIN, VAL = slice(2, 8), slice(8, 12)  # rows of the ids that write_cvact returns


@pytest.fixture
def tree(tmp_path):
    write_cvact(tmp_path / "CVACT")
    return tmp_path / "CVACT"


IDS = panorama_ids(14)


def test_ids_begin_with_everything_that_file_names_can_trip_over():
    assert {name[0] for name in IDS[TRAIN]} >= {"-", "_"}
    assert {name[0] for name in IDS[VAL]} >= {"-", "_"}
    assert {len(name) for name in IDS} == {22}


def test_splits_are_read_by_name_and_count_from_one(tree):
    train, test = load_split("cvact", "train", tree), load_split("cvact", "test", tree)
    assert list(train.queries.ids) == list(train.references.ids) == IDS[TRAIN]
    assert list(test.queries.ids) == IDS[VAL]
    assert test.queries.paths[0] == f"ANU_data_small/streetview/{IDS[8]}_grdView.jpg"
    assert test.references.paths[0] == f"ANU_data_small/satview_polish/{IDS[8]}_satView_polish.jpg"
    assert [test.truth.positives[i].tolist() for i in range(4)] == [[0], [1], [2], [3]]
    assert (train.provenance, train.notes, train.centred) == ("custom", (), True)
    assert repr(train) == "<CVACT train: 6 pairs, custom split>"


def test_every_image_can_be_read(tree):
    for part in ("train", "test"):
        split = load_split("cvact", part, tree)
        assert {tuple(split.queries.read(i).shape) for i in range(len(split.queries))} == {(3, 32, 128)}
        assert {tuple(split.references.read(i).shape) for i in range(len(split.queries))} == {(3, 60, 60)}


def test_panoramas_keep_their_middle_half(tree):
    whole = load_split("cvact", "test", tree, crop=False).queries.read(2)
    half = load_split("cvact", "test", tree).queries.read(2)
    assert tuple(whole.shape) == (3, 64, 128)
    assert torch.equal(half, whole[:, 16:48])


def test_native_sizes(tmp_path):
    write_cvact(tmp_path, 1, 1, 0, smooth_noise, (832, 1664), (1200, 1200))
    split = load_split("cvact", "test", tmp_path)
    assert tuple(split.queries.read(0).shape) == (3, 416, 1664)
    assert tuple(split.references.read(0).shape) == (3, 1200, 1200)


def test_a_single_pair_a_split(tmp_path):
    write_cvact(tmp_path, 1, 1, 0)
    assert [len(load_split("cvact", split, tmp_path).pairs) for split in ("train", "test")] == [1, 1]


@pytest.mark.parametrize("lies_in", [".", "CVACT", "cvact/dataset", "ACT"])
def test_the_folder_is_found_in_every_layout(tmp_path, lies_in):
    write_cvact(tmp_path / "data" / lies_in)
    split = load_split("cvact", "test", tmp_path / "data")
    assert f"ANU_data_small and ANU_data_test in {(tmp_path / 'data' / lies_in)}" in split.layout


@pytest.mark.parametrize("given", ["ANU_data_small", "ANU_data_test", "../CVUSA"])
def test_the_folder_is_found_one_folder_up_and_beside(tree, given):
    (tree.parent / "CVUSA/streetview").mkdir(parents=True)
    shutil.rmtree(tree / "ANU_data_test/satview_polish")  # the other archive is needed for these
    split = load_split("cvact", "test", (tree / given).resolve())
    assert f"in {tree}," in split.layout


@pytest.mark.parametrize("folder", [".", "ANU_data_small", "..", "../.."])
def test_act_data_is_found_where_people_put_it(tmp_path, folder):
    mat_file = f"{folder}/ACT_data.mat"
    write_cvact(tmp_path / "data/CVACT", mat_file=mat_file)
    split = load_split("cvact", "test", tmp_path / "data/CVACT")
    assert split.layout.endswith(str((tmp_path / "data/CVACT" / mat_file).resolve()))
    assert len(split.queries) == 4


def test_act_data_beside_the_root_that_was_named(tmp_path):
    write_cvact(tmp_path / "data/cvact/dataset", mat_file="../../ACT_data.mat")
    assert len(load_split("cvact", "test", tmp_path / "data").queries) == 4


def test_act_data_can_be_named(tree, tmp_path):
    (tree / "ACT_data.mat").rename(tmp_path / "mine.mat")
    assert len(load_split("cvact", "test", tree, act_mat=tmp_path / "mine.mat").queries) == 4
    with pytest.raises(DatasetNotFoundError, match="other.mat"):
        load_split("cvact", "test", tree, act_mat=tmp_path / "other.mat")


def test_a_missing_act_data_names_the_repositories_that_have_it(tree):
    (tree / "ACT_data.mat").unlink()
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split("cvact", "test", tree)
    repositories = ["Liumouliu/OriCNN", "_CVFT", "_SAFA", "_DSM", "_L2LTR"]
    for part in (str(tree / "ACT_data.mat"), str(tree.parent / "ACT_data.mat"), "act_mat", *repositories):
        assert part in str(caught.value)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"<html>" * 99])
def test_a_damaged_act_data(tree, damage):
    path = tree / "ACT_data.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetCorruptError, match=r"ACT_data\.mat .*damaged.*Copy it again"):
        load_split("cvact", "test", tree)


@pytest.mark.parametrize(
    "change", [{"utm": np.zeros((2, 14))}, {"val": np.array([0, 99])}, {"train": np.array([-1])}], ids=str
)
def test_an_act_data_that_contradicts_itself(tree, change):
    parts = {"utm": np.zeros((14, 2)), "train": np.arange(3), "val": np.arange(3, 5), "val_all": np.arange(3, 6)}
    write_act_mat(tree / "ACT_data.mat", IDS, **parts | change)
    with pytest.raises(DatasetCorruptError, match="ACT_data.mat"):
        load_split("cvact", "test", tree)


def test_an_id_leads_to_no_file_outside(tree):
    ids = [*IDS[:3], "../../../x", *IDS[4:]]
    write_act_mat(tree / "ACT_data.mat", ids, np.zeros((14, 2)), np.arange(3), np.arange(3, 5), np.arange(3, 6))
    with pytest.raises(DatasetCorruptError, match=r"ACT_data\.mat .*'../../../x' leads upward"):
        load_split("cvact", "test", tree)


def test_coordinates_are_metres_of_the_panorama(tmp_path):
    utm = np.arange(30.0).reshape(15, 2)
    write_cvact(tmp_path, utm=utm)
    split = load_split("cvact", "test", tmp_path)
    assert np.array_equal(split.queries.coordinates, utm[VAL])
    assert np.array_equal(split.references.coordinates, utm[VAL])
    assert split.queries.coordinate_kind == "metres"


def test_panoramas_of_one_position_are_one_place_and_near_ones_are_not(tmp_path):
    utm = np.arange(30.0).reshape(15, 2)
    utm[10] = utm[8]
    utm[11] = utm[9] + [2.0, 2.0]
    utm[3] = utm[8]  # in train
    utm[4] = utm[5] = np.nan
    write_cvact(tmp_path, utm=utm)
    train, test = load_split("cvact", "train", tmp_path), load_split("cvact", "test", tmp_path)
    assert test.query_places.tolist() == test.reference_places.tolist() == [3, 9, 3, 11]
    assert train.query_places.tolist() == [2, 3, 4, 5, 6, 7]
    assert [test.truth.positives[i].tolist() for i in range(4)] == [[0, 2], [1], [0, 2], [3]]


def test_the_pair_that_was_never_released_is_left_out_and_told(tmp_path):
    write_cvact(tmp_path, never_released=True)
    split = load_split("cvact", "train", tmp_path)
    assert list(split.queries.ids) == IDS[TRAIN]
    assert split.notes == (f"pair {NEVER_RELEASED} was never released and is left out",)
    assert load_split("cvact", "test", tmp_path).notes == ()


def test_val_images_are_taken_from_the_test_archive_where_the_small_one_lacks_them(tree):
    (tree / f"ANU_data_small/streetview/{IDS[9]}_grdView.jpg").unlink()
    split = load_split("cvact", "test", tree)
    assert split.queries.paths[1] == f"ANU_data_test/streetview/{IDS[9]}_grdView.jpg"
    assert split.references.paths[1].startswith("ANU_data_small/")
    assert split.notes == ()
    shutil.rmtree(tree / "ANU_data_small")
    assert load_split("cvact", "test", tree).fingerprint() == split.fingerprint()


def test_missing_images_are_counted_and_the_first_is_named(tree):
    for row in (3, 6):
        (tree / f"ANU_data_small/streetview/{IDS[row]}_grdView.jpg").unlink()
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split("cvact", "train", tree)
    first = f"the first is ANU_data_small/streetview/{IDS[3]}_grdView.jpg"
    for part in ("4 of 6 pairs", "2 of 6 panoramas and 0 of 6 aerials", first):
        assert part in str(caught.value)
    split = load_split("cvact", "train", tree, allow_partial=True)
    assert list(split.queries.ids) == [IDS[row] for row in (2, 4, 5, 7)]
    assert "4 of 6 pairs" in split.notes[0]


def test_a_copy_of_an_archive_under_another_name(tree):
    (tree / "ANU_data_small").rename(tree.parent / "renamed")
    shutil.rmtree(tree / "ANU_data_test")
    split = load_split("cvact", "test", tree.parent / "renamed", act_mat=tree / "ACT_data.mat")
    assert split.queries.paths[0] == f"streetview/{IDS[8]}_grdView.jpg"


def test_re_aligned_aerials_are_used_and_told(tree):
    for row in range(8, 12):
        aerial = tree / f"ANU_data_small/satview_polish/{IDS[row]}_satView_polish.jpg"
        target = tree / f"ANU_data_small/satview_correct/{IDS[row]}_satView_polish.png"
        target.parent.mkdir(exist_ok=True)
        Image.open(aerial).save(target)
    (tree / "ANU_data_small/satview_polish").rename(tree / "unused")
    shutil.rmtree(tree / "ANU_data_test")
    split = load_split("cvact", "test", tree)
    assert split.notes == ("4 aerials are the re-aligned ones of satview_correct",)
    assert tuple(split.references.read(3).shape) == (3, 60, 60)


def test_a_wrong_root_lists_what_was_looked_for_where_and_what_to_do(tmp_path):
    (tmp_path / "CVUSA/streetview/panos").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError, match="CVACT was not found") as caught:
        load_split("cvact", "test", tmp_path / "CVUSA")
    for part in ("ANU_data_small", str(tmp_path / "CVUSA"), "Liumouliu/OriCNN", "--data-root", "GEODTR_DATA"):
        assert part in str(caught.value)


TEST = slice(8, 14)  # val, and two that only valSetAll names


def test_the_test_set_holds_val_and_more_and_training_is_the_same(tree):
    split = load_split("cvact-test", "test", tree)
    assert list(split.queries.ids) == list(split.references.ids) == IDS[TEST]
    assert split.queries.paths[5] == f"ANU_data_test/streetview/{IDS[13]}_grdView.jpg"
    names = ("cvact", "cvact-val", "cvact-test")
    assert len({load_split(name, "train", tree).fingerprint() for name in names}) == 1
    assert load_split("cvact-val", "test", tree).fingerprint() == load_split("cvact", "test", tree).fingerprint()
    assert [load_split(name, "train", tree).exclusion_radius for name in names] == [25.0] * 3
    assert split.exclusion_radius is None and repr(split).startswith("<CVACT test test: 6 queries, 6 references")


def test_every_aerial_within_five_metres_is_right(tmp_path):
    utm = np.random.default_rng(3).uniform(0, 12, (123, 2)).round(2) + [690_000, 6_090_000]
    utm[8], utm[9] = [690_100, 6_090_100], [690_103, 6_090_104]  # exactly 5 m
    utm[10] = utm[11] = [690_200, 6_090_200]
    write_cvact(tmp_path, 6, 4, 110, ground_size=(4, 8), aerial_size=(4, 4), utm=utm)
    split, strict = (load_split("cvact-test", "test", tmp_path, rule=rule) for rule in ("5m", "identity"))
    at = utm[8:122]
    right = np.linalg.norm(at[:, None] - at[None], axis=2) <= 5
    assert [row.tolist() for row in split.truth.positives] == [np.flatnonzero(row).tolist() for row in right]
    assert split.truth.positives[0].tolist() == [0, 1] and len(set(split.truth.positives.counts())) > 3
    assert [strict.truth.positives[i].tolist() for i in (0, 1, 2, 3)] == [[0], [1], [2, 3], [2, 3]]
    assert split.provenance == "custom, 5m rule" and strict.provenance == "custom, identity rule"
    assert "rule 5m: every aerial within 5 m of the query is right" in split.notes[-1]
    assert "rule identity" in strict.notes[-1] and split.fingerprint() != strict.fingerprint()


def test_the_rule_holds_on_what_is_left_of_a_partial_gallery(tmp_path):
    utm = np.stack([np.arange(15.0) * 4, np.zeros(15)], axis=1)
    write_cvact(tmp_path, utm=utm)
    (tmp_path / f"ANU_data_test/satview_polish/{IDS[13]}_satView_polish.jpg").unlink()
    (tmp_path / f"ANU_data_test/streetview/{IDS[12]}_grdView.jpg").unlink()
    split = load_split("cvact-test", "test", tmp_path, allow_partial=True)
    assert [row.tolist() for row in split.truth.positives] == [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]
    assert (len(split.pairs), split.total_pairs) == (4, 6) and "4 of 6 pairs" in split.notes[0]


def test_a_rule_without_a_name_and_a_rule_without_positions(tmp_path):
    utm = np.arange(30.0).reshape(15, 2)
    utm[9] = np.nan
    write_cvact(tmp_path, utm=utm)
    with pytest.raises(UnknownNameError, match="no rule of CVACT's test set '5 m'. Did you mean '5m'"):
        load_split("cvact-test", "test", tmp_path, rule="5 m")
    with pytest.raises(DatasetCorruptError, match=f"no position for {IDS[9]}.*choose the rule identity"):
        load_split("cvact-test", "test", tmp_path)
    assert len(load_split("cvact-test", "test", tmp_path, rule="identity").queries) == 6
