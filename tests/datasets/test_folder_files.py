"""What a name in the table of own data means: one file below its role's folder, or a sentence."""

from __future__ import annotations

import unicodedata

import pytest
from trees import save_jpeg, smooth_noise, write_own

from geodtr_plugin.datasets import load_split
from geodtr_plugin.datasets.folder_files import OwnFiles, UnmatchedName
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError, UserError
from geodtr_plugin.utils.visible import csv_cell

NAMES = ["0.jpg", "1.jpg", "2.jpg"]


def add(path, number=7):
    save_jpeg(path, smooth_noise("ground", number, 16, 32))


def city(root, rows, header="query,reference"):
    return write_own(root / "city", rows, NAMES, NAMES, header=header)


def load(folder, split="test"):
    return load_split(f"folder:{folder}", split, test_share=0.9)


@pytest.mark.parametrize("name", ["../references/1.jpg", "queries/../../references/1.jpg", "a/../1.jpg", "/{}/1.jpg"])
@pytest.mark.parametrize("header", ["query,reference", "file,lat,lon"])
def test_a_tile_is_never_the_query_of_itself(tmp_path, name, header):
    """Such a row gave a query that is its own reference: a perfect number that nobody looks at twice."""
    name = name.format(str(tmp_path / "city/references").strip("/"))
    rest = ("1.jpg",) if header == "query,reference" else (48, 11)
    folder = city(tmp_path, [("0.jpg", *(["0.jpg"] if len(rest) == 1 else rest)), (name, *rest)], header)
    with pytest.raises(DatasetCorruptError, match=r"Line 3 of .*places\.csv .*, which (is absolute|leads upward)"):
        load(folder)


def test_dots_behind_a_link_are_refused_and_links_are_followed(tmp_path):
    folder = city(tmp_path, [("0.jpg", "0.jpg"), ("album/1.jpg", "1.jpg"), ("copy.jpg", "2.jpg")])
    (tmp_path / "elsewhere").mkdir()
    add(tmp_path / "elsewhere/1.jpg")
    (folder / "queries/album").symlink_to(tmp_path / "elsewhere")
    (folder / "queries/copy.jpg").symlink_to(folder / "queries/2.jpg")
    assert list(load(folder).queries.ids) == ["album/1.jpg", "copy.jpg"]
    (folder / "places.csv").write_text("query,reference\n0.jpg,0.jpg\nalbum/../x.jpg,1.jpg\n")
    with pytest.raises(UserError, match="leads upward"):
        load(folder)


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_names_in_either_form_of_unicode_are_found_and_have_one_id(tmp_path, on_disk):
    name, album = "Grüße_é.jpg", "Straße ö"
    in_table = {"NFC": "NFD", "NFD": "NFC"}[on_disk]
    path = unicodedata.normalize(on_disk, f"{album}/{name}")
    folder = city(tmp_path, [("0.jpg", "0.jpg"), (unicodedata.normalize(in_table, f"{album}/{name}"), "1.jpg")])
    add(folder / "queries" / path)
    split = load(folder)
    assert list(split.queries.ids) == [f"{album}/{name}"] and list(split.queries.paths) == [f"queries/{path}"]
    assert split.queries.read(0).shape == (3, 16, 32)


def test_a_name_that_lies_deeper_is_found_if_it_is_the_only_one(tmp_path):
    folder = city(tmp_path, [("0.jpg", "0.jpg"), ("x.jpg", "1.jpg"), ("photos/y.jpg", "2.jpg")])
    for path in ("north/x.jpg", "north/y.jpg", ".trash/x.jpg"):
        add(folder / "queries" / path)
    assert list(load(folder).queries.ids) == ["north/x.jpg", "north/y.jpg"]
    add(folder / "queries/south/x.jpg")
    what = r"'queries/x.jpg', which is not there; of that name there are queries/north/x.jpg, queries/south/x.jpg"
    with pytest.raises(DatasetNotFoundError, match=what):
        load(folder)


def test_a_file_that_is_missing_in_a_folder_is_not_taken_from_another(tmp_path):
    folder = city(tmp_path, [("0.jpg", "0.jpg"), ("north/x.jpg", "1.jpg")])
    add(folder / "queries/south/x.jpg")
    add(folder / "queries/north/z.jpg")
    with pytest.raises(DatasetNotFoundError, match="'queries/north/x.jpg', .* there are queries/south/x.jpg"):
        load(folder)


def test_two_names_of_one_file_are_refused(tmp_path):
    folder = city(tmp_path, [("0.jpg", "0.jpg"), ("north/x.jpg", "1.jpg"), ("south/x.jpg", "2.jpg")])
    add(folder / "queries/x.jpg")
    with pytest.raises(DatasetCorruptError, match=r"'south/x.jpg', and another line 'north/x.jpg': either"):
        load(folder)


def test_a_name_without_a_role_has_one_meaning(tmp_path):
    folder = city(tmp_path, [("0.jpg", 48, 11), ("x.jpg", 48, 11)], header="file,lat,lon")
    add(folder / "references/north/x.jpg")
    files = OwnFiles(folder)
    assert files.of("0.jpg") == [("queries", "0.jpg"), ("references", "0.jpg")]
    assert files.of("x.jpg") == [("references", "north/x.jpg")] == files.of("references/x.jpg")
    add(folder / "queries/east/x.jpg")
    with pytest.raises(UnmatchedName, match="there are queries/east/x.jpg, references/north/x.jpg"):
        OwnFiles(folder).of("x.jpg")
    with pytest.raises(UnmatchedName):  # the tile of a query's column is no photo of the same name
        files.of("queries/references/0.jpg")


def test_names_that_were_made_harmless_for_spreadsheets_are_read_as_they_were(tmp_path):
    names = ["=1+1.jpg", "-a.jpg", "@b.jpg", "'=c.jpg"]
    folder = city(tmp_path, [("0.jpg", "0.jpg"), *((csv_cell(name), "1.jpg") for name in names)])
    for name in names:
        add(folder / "queries" / name)
    assert (folder / "places.csv").read_text().splitlines()[2] == "'=1+1.jpg,1.jpg"
    assert list(load(folder).queries.ids) == names


def test_hidden_files_are_no_tables_and_no_images(tmp_path):
    folder = city(tmp_path, [("0.jpg", "0.jpg"), ("1.jpg", "1.jpg")])
    for name in ("._places.csv", ".~lock.places.csv"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    assert len(load(folder).queries) == 1
    for name in NAMES:
        (folder / "queries" / name).rename(folder / "queries" / f"._{name}")
    with pytest.raises(DatasetNotFoundError, match="queries holds nothing"):
        load(folder)
