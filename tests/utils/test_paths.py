"""Paths out of files that anybody may have written."""

from __future__ import annotations

import os
import unicodedata

import pytest

from geodtr_plugin.utils.errors import DatasetCorruptError
from geodtr_plugin.utils.paths import below, escapes, is_hidden, one_form, walk_files


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/x.png", "is absolute"), ("\\\\server\\x.png", "is absolute"), ("C:\\x.png", "is absolute"),
        ("c:/x.png", "is absolute"), ("../x.png", "leads upward"), ("a/../x.png", "leads upward"),
        ("a\\..\\x.png", "leads upward"), ("a/..", "leads upward"), ("x\0.png", "has a zero byte in it"),
    ],
)  # fmt: skip
def test_what_leaves_the_folder_is_refused(path, reason):
    assert escapes(path) == reason
    with pytest.raises(DatasetCorruptError, match=rf"^Line 3 of t\.csv names .*, which {reason}\. Paths start from"):
        below(path, "Line 3 of t.csv")


@pytest.mark.parametrize(
    ("path", "plain"),
    [("a.png", "a.png"), ("./a/./b.png", "a/b.png"), ("a\\b.png", "a/b.png"), ("a//b..png", "a/b..png"),
     ("..a/b.png", "..a/b.png"), ("~/a.png", "~/a.png"), ("", "")],
)  # fmt: skip
def test_what_stays_below_has_one_spelling(path, plain):
    assert below(path, "a list") == plain


def test_forms_of_unicode():
    name = "Zürich_é.jpg"
    decomposed = unicodedata.normalize("NFD", name)
    assert decomposed != name == one_form(decomposed) == one_form(name)
    assert one_form("plain.jpg") == "plain.jpg"


def test_a_tree_with_links_in_a_circle_and_hidden_folders(tmp_path):
    for name in ("a/1.jpg", "a/.2.jpg", "b/c/3.jpg", ".thumbnails/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/up").symlink_to(tmp_path)
    (tmp_path / "b/z").symlink_to(tmp_path / "a")
    (tmp_path / os.fsdecode(b"\xff.jpg")).touch()
    found = sorted(walk_files(tmp_path))
    assert found == sorted(["a/.2.jpg", "a/1.jpg", "b/c/3.jpg", os.fsdecode(b"\xff.jpg")])
    assert [is_hidden(path) for path in ("a/.2.jpg", "._places.csv", ".a/1.jpg")] == [True, True, False]
