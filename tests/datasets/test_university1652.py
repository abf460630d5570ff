from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch
from trees import smooth_noise
from trees_university import write_university1652

from geodtr_plugin.datasets import load_split
from geodtr_plugin.datasets.university1652 import RELEASED
from geodtr_plugin.evaluation import recall
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError

TO_SATELLITE, TO_DRONE = "university1652-drone-satellite", "university1652-satellite-drone"
TRAIN, TEST, GALLERY = [839, 840, 842, 843, 851], [1, 2, 7], [1, 2, 5, 7, 1000]  # as written, but sorted
VIEWS = 4


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_university1652(tmp_path_factory.mktemp("university") / "University-Release")


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree, to be damaged."""
    return shutil.copytree(written, tmp_path / "University-Release")


def drones(buildings):
    return [f"{building:04d}/image-{view:02d}" for building in buildings for view in range(1, VIEWS + 1)]


def satellites(buildings):
    return [f"{building:04d}/{building:04d}" for building in buildings]


@pytest.mark.parametrize(
    ("name", "part", "queries", "references"),
    [
        (TO_SATELLITE, "train", drones(TRAIN), satellites(TRAIN)),
        (TO_SATELLITE, "test", drones(TEST), satellites(GALLERY)),
        (TO_DRONE, "train", satellites(TRAIN), drones(TRAIN)),
        (TO_DRONE, "test", satellites(TEST), drones(GALLERY)),
    ],
)
def test_images_are_sorted_and_every_image_of_the_building_is_right(written, name, part, queries, references):
    split = load_split(name, part, written)
    assert (list(split.queries.ids), list(split.references.ids)) == (queries, references)
    for row, query in enumerate(queries):
        right = [column for column, reference in enumerate(references) if reference[:4] == query[:4]]
        assert split.truth.positives[row].tolist() == right and right
    assert split.query_places.tolist() == [int(query[:4]) for query in queries]
    assert split.reference_places.tolist() == [int(reference[:4]) for reference in references]
    assert (split.centred, split.truth.ignored, split.total_pairs) == (False, None, len(split.pairs))


def test_the_short_name_is_drone_to_satellite(written):
    for split in ("train", "test"):
        short, long = (load_split(name, split, written) for name in ("university1652", TO_SATELLITE))
        assert short.fingerprint() == long.fingerprint()


@pytest.mark.parametrize("name", [TO_SATELLITE, TO_DRONE])
def test_training_pairs_every_drone_view_with_its_satellite_image(written, name):
    split = load_split(name, "train", written)
    pairs = {(split.queries.ids[q], split.references.ids[r]) for q, r in split.pairs.tolist()}
    both = {(drone, f"{drone[:4]}/{drone[:4]}") for drone in drones(TRAIN)}
    assert pairs == (both if name == TO_SATELLITE else {pair[::-1] for pair in both})
    assert len(split.pairs) == len(pairs) == 20


@pytest.mark.parametrize("name", [TO_SATELLITE, TO_DRONE])
@pytest.mark.parametrize("part", ["train", "test"])
def test_the_first_pairs_are_of_different_buildings(written, name, part):
    limited = load_split(name, part, written).limit(2)
    assert len(set(limited.query_places.tolist())) == len(limited.queries) == len(limited.references) == 2


def test_images_are_those_of_the_lists(written):
    split = load_split(TO_SATELLITE, "test", written)
    for images, row, role, number in ((split.queries, 5, "ground", 202), (split.references, 2, "aerial", 500)):
        pixels = torch.from_numpy(smooth_noise(role, number, 32, 32).copy()).permute(2, 0, 1)
        assert (images.read(row).int() - pixels.int()).abs().max() < 32


def test_order_does_not_depend_on_the_disk(written, monkeypatch):
    before = load_split(TO_DRONE, "test", written).fingerprint()
    scandir = os.scandir

    class Backwards(list):
        __enter__, __exit__ = lambda self: self, lambda self, *_: None

    monkeypatch.setattr(os, "scandir", lambda path=".": Backwards(sorted(scandir(path), key=lambda e: e.name)[::-1]))
    assert load_split(TO_DRONE, "test", written).fingerprint() == before


@pytest.mark.parametrize("given", [".", "University-Release", "University-Release/test", "other"])
def test_the_folder_is_found_from_near_it(tree, given):
    (tree.parent / "other").mkdir()
    split = load_split("university1652", "test", tree.parent / given)
    assert split.layout == f"test/query_drone and test/gallery_satellite in {tree}"


def test_folders_that_systems_leave_behind_and_other_files_are_passed_over(written, tree):
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX"):
        (tree / "test/gallery_satellite" / name).mkdir()
    (tree / "test/gallery_satellite/0001/Thumbs.db").touch()
    (tree / "test/gallery_satellite/list.txt").touch()
    theirs, ours = (load_split(TO_SATELLITE, "test", root) for root in (tree, written))
    assert theirs.fingerprint() == ours.fingerprint()


def test_a_folder_that_is_no_building_is_named(tree):
    (tree / "test/gallery_drone/backup").mkdir()
    with pytest.raises(DatasetCorruptError, match=r"test/gallery_drone/backup is not named with a building's number"):
        load_split(TO_DRONE, "test", tree)


def test_empty_web_folders_are_as_released(written):
    assert (written / "train/google/1057").is_dir() and not list((written / "train/google/1057").iterdir())
    assert not any("google" in note for note in load_split(TO_SATELLITE, "train", written).notes)


def test_numbers_other_than_the_released_ones_are_told(written, monkeypatch):
    split = load_split(TO_DRONE, "test", written)
    assert split.provenance == "custom"
    assert split.notes[1] == "test/gallery_drone holds 20 images of 5 buildings; released were 51,355 of 951"
    monkeypatch.setitem(RELEASED, "test/gallery_drone", (5, 20))
    monkeypatch.setitem(RELEASED, "test/query_satellite", (3, 3))
    split = load_split(TO_DRONE, "test", written)
    assert (split.provenance, split.notes) == ("original", ())


def test_one_building_may_have_a_view_more(written, tree):
    shutil.copy(tree / "test/query_drone/0001/image-01.jpeg", tree / "test/query_drone/0001/image-05.jpeg")
    assert len(load_split(TO_SATELLITE, "test", tree).queries) == 13


MISSING = [
    (TO_SATELLITE, "train", "train/drone/0840/image-02.jpeg", 19, 20),
    (TO_DRONE, "train", "train/drone/0840/image-02.jpeg", 19, 20),
    (TO_SATELLITE, "train", "train/satellite/0840/0840.jpg", 16, 20),
    (TO_DRONE, "train", "train/satellite/0840/0840.jpg", 16, 20),
    (TO_SATELLITE, "test", "test/query_drone/0002/image-04.jpeg", 11, 12),
    (TO_SATELLITE, "test", "test/gallery_satellite/0007/0007.jpg", 8, 12),
    (TO_SATELLITE, "test", "test/gallery_satellite/1000/1000.jpg", 12, 12),
    (TO_DRONE, "test", "test/query_satellite/0001/0001.jpg", 2, 3),
    (TO_DRONE, "test", "test/gallery_drone/1000/image-01.jpeg", 3, 3),
]


@pytest.mark.parametrize(("name", "part", "gone", "left", "total"), MISSING)
def test_what_is_missing_is_named(tree, name, part, gone, left, total):
    (tree / gone).unlink()
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split(name, part, tree)
    assert f"the first is {gone}." in str(caught.value) and "--allow-partial" in str(caught.value)
    split = load_split(name, part, tree, allow_partial=True)
    assert (len(split.pairs), split.total_pairs) == (left, total)
    assert gone in split.notes[-1]
    assert split.truth.positives.counts().min() > 0


@pytest.mark.parametrize("keep_folder", [True, False])
@pytest.mark.parametrize(("name", "gone"), [(TO_SATELLITE, "drone"), (TO_DRONE, "drone"), (TO_DRONE, "satellite")])
def test_a_building_that_has_nothing_in_one_role(tree, name, gone, keep_folder):
    shutil.rmtree(tree / "train" / gone / "0840")
    if keep_folder:
        (tree / "train" / gone / "0840").mkdir()
    count, first = ("4 of 20", "drone/0840/image-01.jpeg") if gone == "drone" else ("1 of 5", "satellite/0840/0840.jpg")
    with pytest.raises(DatasetNotFoundError, match=f"{count} .*the first is train/{first}"):
        load_split(name, "train", tree)
    split = load_split(name, "train", tree, allow_partial=True)
    assert (len(split.pairs), split.total_pairs) == (16, 20)
    assert 840 not in split.query_places and 840 not in split.reference_places


def test_a_building_that_is_asked_for_but_not_in_the_gallery(tree):
    shutil.rmtree(tree / "test/gallery_satellite/0007")
    with pytest.raises(DatasetNotFoundError, match=r"the first is test/gallery_satellite/0007/0007\.jpg\."):
        load_split(TO_SATELLITE, "test", tree)
    split = load_split(TO_SATELLITE, "test", tree, allow_partial=True)
    assert (len(split.pairs), len(split.references), split.total_pairs) == (8, 4, 12)


def test_an_empty_building_whose_images_have_names_of_their_own(tree):
    for number, path in enumerate(sorted((tree / "train/satellite").glob("*/*.jpg"))):
        path.rename(path.with_name(f"scene{number}.jpg"))
    assert len(load_split(TO_SATELLITE, "train", tree).pairs) == 20
    next((tree / "train/satellite/0842").iterdir()).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"the first is train/satellite/0842/\*\."):
        load_split(TO_SATELLITE, "train", tree)


def test_a_copy_that_lost_some_buildings_is_no_selection(tree, monkeypatch):
    monkeypatch.setitem(RELEASED, "test/gallery_satellite", (6, 6))
    load_split(TO_SATELLITE, "test", tree)  # 5 of 6: less than nine in ten
    for building in range(2000, 2006):
        (tree / f"test/gallery_satellite/{building}").mkdir()
        shutil.copy(
            tree / "test/gallery_satellite/1000/1000.jpg", tree / f"test/gallery_satellite/{building}/{building}.jpg"
        )
    monkeypatch.setitem(RELEASED, "test/gallery_satellite", (12, 12))
    with pytest.raises(DatasetNotFoundError, match="test/gallery_satellite has 11 of 12 buildings"):
        load_split(TO_SATELLITE, "test", tree)
    assert len(load_split(TO_SATELLITE, "test", tree, allow_partial=True).references) == 11


def test_a_folder_that_is_not_there_or_empty(tree):
    shutil.rmtree(tree / "test/query_drone")
    with pytest.raises(DatasetNotFoundError, match="it lacks test/query_drone"):
        load_split(TO_SATELLITE, "test", tree)
    (tree / "test/query_drone").mkdir()
    for allowed in (False, True):
        with pytest.raises(DatasetNotFoundError, match="test/query_drone has 0 of 701 buildings"):
            load_split(TO_SATELLITE, "test", tree, allow_partial=allowed)


@pytest.mark.parametrize("name", [TO_SATELLITE, TO_DRONE])
def test_recall_equals_a_loop_over_the_folders(tmp_path, name):
    """The best of a building's images counts, whatever its other images score."""
    test, distractors = range(1, 25), range(100, 110)
    write_university1652(tmp_path, [30], test, distractors, views=5, size=(2, 2))
    split = load_split(name, "test", tmp_path)
    draw = np.random.default_rng(0)
    buildings = {label: draw.normal(size=8) for label in (*test, *distractors)}
    query, reference = (
        np.stack([buildings[label] for label in labels.tolist()]) + draw.normal(scale=1.2, size=(len(labels), 8))
        for labels in (split.query_places, split.reference_places)
    )
    query, reference = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (query, reference))
    folders = [path.split("/")[-2] for path in split.queries.paths], [p.split("/")[-2] for p in split.references.paths]
    limits = (1, 5, 10, int(0.01 * len(reference)) + 1)
    hits = np.zeros(4)
    for row, folder in enumerate(folders[0]):
        order = sorted(range(len(reference)), key=lambda column: -float(np.dot(query[row], reference[column])))
        first = next(rank for rank, column in enumerate(order) if folders[1][column] == folder)
        hits += [first < limit for limit in limits]
    ours = recall(query, reference, split.truth, percent_rounding=split.percent_rounding)
    measured = [ours[f"recall_at_{k}"] for k in ("1", "5", "10", "1_percent")]
    assert measured == pytest.approx((hits / len(query)).tolist(), abs=1e-12)
    assert 0 < measured[0] < measured[1] < measured[2] < 1
    assert ours["k_at_1_percent"] == limits[-1]
