"""Looking for the files of a list, and what is said about those that are missing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from geodtr_plugin.datasets import ImageFiles
from geodtr_plugin.datasets.role_files import DirectoryCache, MissingFilesError, RoleFiles, lost_some, missing_notes
from geodtr_plugin.utils.errors import DatasetCorruptError


@pytest.fixture
def files(tmp_path):
    for path in ("a/1.jpg", "b/2.jpg", "b/3.jpg", "b/1.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "empty").mkdir()
    return DirectoryCache(tmp_path)


def test_each_file_is_found_at_the_best_place_that_holds_it(files):
    paths, present = files.find(["1", "2", "4"], ["a/{}.jpg", "b/{}.jpg"])
    assert paths[:2] == ["a/1.jpg", "b/2.jpg"] and present.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("patterns", "where"),
    [(["gone/{}", "b/{}.jpg"], "b/4.jpg"), (["gone/{}", "empty/{}"], "empty/4"), (["gone/{}", "lost/{}"], "gone/4")],
)
def test_what_is_nowhere_is_named_where_the_others_lie(files, patterns, where):
    assert files.find(["2", "4"], patterns)[0][1] == where


def test_missing_files_are_an_error_that_names_them_unless_that_is_allowed(files, tmp_path):
    queries = RoleFiles.find(files, "panoramas", ["2", "4"], ["b/{}.jpg"])
    references = RoleFiles.find(files, "aerials", ["1", "5"], ["a/{}.jpg"])
    (note,) = missing_notes("Set train", tmp_path, queries, references, allowed=True, complete=1)
    assert "1 of 2 pairs are there; 1 of 2 panoramas and 1 of 2 aerials are missing, the first is b/4.jpg" in note
    with pytest.raises(MissingFilesError) as caught:
        missing_notes("Set train", tmp_path, queries, references, allowed=False)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.missing == (tmp_path / "b/4.jpg", tmp_path / "a/5.jpg") and "--allow-partial" in error.remedy
    whole = queries.take(np.array([0]))
    assert missing_notes("Set train", tmp_path, whole, whole, allowed=False) == ()


def test_rows_are_taken_from_everything_that_is_known_of_a_file():
    at = np.arange(6.0).reshape(3, 2)
    images = ImageFiles("root", list("abc"), list("xyz"), coordinates=at, coordinate_kind="metres")
    taken = RoleFiles("photos", images, np.array([True, False, True]), panoramas=list("pqr")).take(np.array([2, 0]))
    assert (list(taken.images.paths), list(taken.images.ids)) == (["c", "a"], ["z", "x"])
    assert (taken.panoramas, taken.headings, taken.present.all()) == (["r", "p"], None, True)
    assert taken.images.coordinates.tolist() == [[4, 5], [0, 1]] and len(taken) == 2


def test_a_copy_that_lost_a_few_is_told_from_a_selection():
    assert [lost_some(count, 100) for count in (0, 89, 90, 99, 100, 101)] == [False, False, True, True, False, False]


def test_the_cache_itself_leads_to_no_file_outside(tmp_path):
    (tmp_path / "x.jpg").touch()
    files = DirectoryCache(tmp_path / "data")
    for path in ("../x.jpg", f"{tmp_path}/x.jpg", "/x.jpg", "a/../../x.jpg"):
        with pytest.raises(DatasetCorruptError, match=r"A list of .*data names .*, which (leads upward|is absolute)"):
            files.find([path], ["{}"])


def test_names_that_no_system_has_are_not_there(tmp_path):
    files = DirectoryCache(tmp_path)
    assert not any(name in files for name in ("a" * 5000 + "/x.jpg", "\ud800/x.jpg", "x.jpg/y", "é.jpg"))
