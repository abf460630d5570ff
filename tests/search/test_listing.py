"""Which references an index gets, and where they are."""

from __future__ import annotations

import shutil

import pytest

from geodtr_plugin.search.errors_in_metres import read_truth
from geodtr_plugin.search.index_folder import REFERENCES, read_references
from geodtr_plugin.search.listing import list_images
from geodtr_plugin.utils.errors import DatasetCorruptError, UserError


@pytest.fixture
def own(tmp_path, tiles):
    """Own data without a table: 0.png ... 9.png in either role."""
    folder = tmp_path / "own"
    (tiles / "places.csv").unlink()
    for role in ("queries", "references"):
        shutil.copytree(tiles, folder / role)
    return folder


def write(file, *rows, header="file,lat,lon"):
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_tables_of_the_splits_are_read_together(own):
    write(own / "train.csv", *(f"{role}/{i}.png,48,{i}" for role in ("queries", "references") for i in range(4)))
    write(own / "test.csv", *(f"references/{i}.png,48,{i}" for i in range(3, 6)), "references/0.png,49,0")
    (own / "._train.csv").write_bytes(b"\0\5")
    images = list_images(own)
    assert images.files == tuple(f"references/{i}.png" for i in range(6)) and images.left_out == ()
    assert images.positions == {f"references/{i}.png": (48.0, float(i)) for i in range(6)}
    assert [note.replace(str(own), "") for note in images.notes] == [
        "references/0.png has another position (line 5 of /test.csv): it is not used."
    ]


def test_one_table_of_two_splits_is_enough_and_two_others_are_told(own):
    write(own / "test.csv", "1.png,48,1")
    assert list_images(own).positions == {"references/1.png": (48.0, 1.0)}
    (own / "test.csv").rename(own / "a.csv")
    write(own / "b.csv", "2.png,48,1")
    images = list_images(own)
    assert len(images.files) == 10 and not images.positions and "2 tables (a.csv, b.csv)" in images.notes[0]


def test_rows_of_queries_are_passed_over_in_silence_and_lost_ones_are_named(own):
    (own / "queries/photo.png").write_bytes(b"")
    write(own / "places.csv", *(f"{role}/{i}.png,48,{i}" for role in ("queries", "references") for i in range(5)),
          "photo.png,48,1", "gone.png,48,2", "references/lost.png,48,2")  # fmt: skip
    images = list_images(own)
    assert len(images.files) == 5 and images.notes == ()
    where = f"of {own / 'places.csv'})"
    assert images.left_out == (
        ("gone.png", f"is neither in queries nor in references (line 13 {where}"),
        ("references/lost.png", f"is not there (line 14 {where}"),
    )


def test_a_table_of_names_finds_them_deeper_and_says_where_it_cannot_choose(tiles):
    (tiles / "deep").mkdir()
    (tiles / "0.png").rename(tiles / "deep/x.png")
    write(tiles / "mine.csv", "x.png,48,1", "1.png,48,2")
    assert list_images(tiles / "mine.csv").files == ("deep/x.png", "1.png")
    (tiles / "other").mkdir()
    shutil.copy(tiles / "2.png", tiles / "other/x.png")
    ((name, reason),) = list_images(tiles / "mine.csv").left_out
    assert name == "x.png" and "of that name there are deep/x.png, other/x.png (line 2" in reason


def test_nothing_is_not_the_working_folder(tiles, monkeypatch):
    monkeypatch.chdir(tiles)
    with pytest.raises(UserError, match="No references are named"):
        list_images("")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "a/../../secret.png"])
def test_no_list_leads_out_of_its_folder(tiles, tmp_path, name):
    write(tiles / "mine.csv", "1.png,48,2", f"{name},48,1")
    with pytest.raises(DatasetCorruptError, match="Line 3 of .*mine.csv names"):
        list_images(tiles / "mine.csv")
    with pytest.raises(DatasetCorruptError, match="Line 3 of .*mine.csv names"):
        read_truth(tiles / "mine.csv", [])
    lines = (f'{{"file": "{file}", "lat": 1, "lon": 2}}\n' for file in ("1.png", name))
    (tmp_path / REFERENCES).write_text("".join(lines))
    with pytest.raises(DatasetCorruptError, match="Line 2 of .*references.jsonl names"):
        read_references(tmp_path)


def test_photos_of_one_name_share_no_truth(tmp_path):
    for name in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    table, photos = tmp_path / "truth.csv", [str(tmp_path / "a/1.jpg"), str(tmp_path / "b/1.jpg")]
    write(table, "a/1.jpg,48,1")
    assert read_truth(table, photos).positions == {photos[0]: (48.0, 1.0)}
    write(table, "1.jpg,48,1")
    assert read_truth(table, photos[:1]).positions == {photos[0]: (48.0, 1.0)}
    with pytest.raises(DatasetCorruptError, match=r"belongs to .*a/1\.jpg, .*b/1\.jpg: line 2 \(1\.jpg\)"):
        read_truth(table, photos)
    write(table, "x/1.jpg,48,1", "y/1.jpg,48,2")
    with pytest.raises(DatasetCorruptError, match=r"belongs to .*a/1\.jpg: line 2 \(x/1\.jpg\) or line 3 \(y/1\.jpg\)"):
        read_truth(table, photos[:1])


def test_a_name_in_own_data_is_the_query_of_that_path(tmp_path):
    for name in ("queries/1.jpg", "queries/deep/1.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    write(tmp_path / "places.csv", "1.jpg,48,1", "queries/deep/1.jpg,48,2", "references/1.jpg,48,3")
    photos = [str(tmp_path / "queries/deep/1.jpg"), str(tmp_path / "queries/1.jpg")]
    assert read_truth(tmp_path / "places.csv", photos).positions == {photos[0]: (48.0, 2.0), photos[1]: (48.0, 1.0)}
