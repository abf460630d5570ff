"""Own data without code: tables in every spelling, the split of one table, and every mistake answered."""

from __future__ import annotations

import numpy as np
import pytest
from trees import write_own

from geodtr_plugin.datasets import load_split
from geodtr_plugin.datasets.places import distances
from geodtr_plugin.datasets.registry import is_centred
from geodtr_plugin.utils.errors import DamagedFileError, DatasetCorruptError, DatasetNotFoundError, UserError

DEGREE = 111_195.0  # metres of a degree of latitude
NAMES = [f"{i}.jpg" for i in range(10)]


def at(i: int, metres: float = 0.0) -> tuple[str, str]:
    """Place i of a row of places that are 1 km apart, and a point north of it."""
    return f"{48 + (1000 * i + metres) / DEGREE:.8f}", "11.5"


def positions(references=NAMES, queries=NAMES):
    """Query i stands 10 m from reference i."""
    return [(f"references/{name}", *at(i)) for i, name in enumerate(references)] + [
        (f"queries/{name}", *at(i, 10)) for i, name in enumerate(queries)
    ]


def load(folder, split="test", **options):
    return load_split(f"folder:{folder}", split, **options)


def positives(split):
    return [split.truth.positives[i].tolist() for i in range(len(split.truth))]


@pytest.fixture
def city(tmp_path):
    return write_own(tmp_path / "city", positions(), NAMES, NAMES)


def test_one_table_gives_its_last_places_to_the_test(city):
    train, test = load(city, "train"), load(city)
    assert list(train.queries.ids) == list(train.references.ids) == NAMES[:8]
    assert list(test.queries.ids) == NAMES[8:] and list(test.references.ids) == NAMES
    assert positives(test) == [[8], [9]] and test.pairs.tolist() == [[0, 8], [1, 9]]
    assert train.pairs.tolist() == [[i, i] for i in range(8)]
    assert test.notes == ("the last 2 of 10 places of the table are the test",)
    assert (test.centred, test.provenance, test.queries.coordinate_kind) == (False, "own", "latlon")
    assert (train.exclusion_radius, test.exclusion_radius) == (25.0, None)
    assert tuple(test.references.read(9).shape) == tuple(test.queries.read(1).shape) == (3, 16, 32)
    assert repr(test) == f"<folder:{city} test: 2 queries, 10 references, own split>"
    assert len(load(city, test_share=0.5).queries) == 5


def test_a_reference_that_is_right_for_a_test_query_is_not_trained_on(tmp_path):
    rows = positions()
    rows[10 + 8] = ("queries/8.jpg", *at(7, 20))  # the test query sees reference 7, as a training query does
    rows[8], rows[7] = ("references/8.jpg", *at(7, 30)), ("references/7.jpg", *at(7))
    write_own(tmp_path, rows, NAMES, NAMES)
    train, test = load(tmp_path, "train"), load(tmp_path)
    assert positives(test) == [[7, 8], [9]]
    assert list(train.queries.ids) == list(train.references.ids) == NAMES[:7]
    assert "1 training pairs are left out" in train.notes[0]


@pytest.mark.parametrize(("radius", "last", "others"), [(25.0, 1, 1), (995.0, 1, 2), (1015.0, 2, 3)])
def test_every_reference_within_the_radius_is_right(city, radius, last, others):
    split = load(city, radius=radius, test_share=0.9)
    assert [len(row) for row in positives(split)] == [others] * 8 + [last]
    for i, row in enumerate(positives(split)):
        here = np.repeat(split.queries.coordinates[i : i + 1], len(split.references), axis=0)
        apart = distances(here, split.references.coordinates, "latlon")
        assert row == np.flatnonzero(apart <= radius).tolist()


def test_no_reference_near_any_query_names_the_nearest(city):
    with pytest.raises(UserError, match=r"within 5 m; the nearest are (\d)\.jpg and \1\.jpg, 10 m apart.*radius"):
        load(city, radius=5.0)


def test_two_tables_are_the_two_splits(tmp_path):
    write_own(tmp_path, positions(NAMES[:3], NAMES[:3]), NAMES, NAMES, "train.csv")
    write_own(tmp_path, positions(NAMES[:6], NAMES[:2]), table="test.csv")
    (tmp_path / "notes.csv").write_text("not,for,us\n")
    train, test = load(tmp_path, "train"), load(tmp_path)
    assert (list(train.queries.ids), len(test.references)) == (NAMES[:3], 6)
    assert list(test.queries.ids) == NAMES[:2] and test.notes == ()
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"has test\.csv but no train\.csv"):
        load(tmp_path, "train")


def test_a_name_without_a_folder_stands_for_both_roles(tmp_path):
    write_own(tmp_path, [(name, *at(i)) for i, name in enumerate(NAMES)], NAMES[:9], NAMES)
    split = load(tmp_path, test_share=0.99)
    assert len(split.references) == 10 and list(split.queries.ids) == NAMES[:9][-len(split.queries) :]


def test_queries_that_no_reference_shows_are_told_and_fail(tmp_path):
    rows = positions(NAMES[:6], NAMES[:6]) + [("queries/6.jpg", *at(900)), ("queries/7.jpg", *at(901))]
    write_own(tmp_path, rows, NAMES, NAMES)
    train, test = load(tmp_path, "train"), load(tmp_path, test_share=0.4)
    assert len(train.pairs) == 6 and test.notes[0].startswith("2 of 8 queries have no reference within 25 m")
    assert positives(test) == [[5], [], []] and len(test.pairs) == 1
    with pytest.raises(UserError, match="leaves no pair for test"):
        load(tmp_path)


def test_references_of_one_position_are_one_place(tmp_path):
    rows = [("references/0.jpg", *at(0)), ("references/1.jpg", *at(0)), ("references/2.jpg", *at(5))]
    write_own(tmp_path, rows + positions((), NAMES[:1]), NAMES, NAMES, "train.csv")
    split = load(tmp_path, "train")
    assert split.reference_places.tolist() == [0, 0, 2] and split.query_places.tolist() == [0]
    assert positives(split) == [[0, 1]]


TILES = [f"{letter}.jpg" for letter in "abcde"]
PAIRS = list(zip(["0.jpg", "1.jpg", "1.jpg", "", "0.jpg", "2.jpg"], [*TILES[:4], "a.jpg", "e.jpg"]))


def test_rows_of_pairs_are_the_truth_and_a_row_without_a_query_is_a_distractor(tmp_path):
    write_own(tmp_path, PAIRS, NAMES[:3], TILES, header="query,reference")
    train, test = load(tmp_path, "train"), load(tmp_path)
    assert train.pairs.tolist() == [[0, 0], [1, 1], [1, 2]] and list(train.references.ids) == TILES[:3]
    assert train.query_places[1] == train.reference_places[1] == train.reference_places[2] != train.query_places[0]
    assert positives(train) == [[0], [1, 2]] and train.exclusion_radius is None
    assert list(test.queries.ids) == ["2.jpg"] and list(test.references.ids) == TILES and positives(test) == [[4]]
    assert test.queries.coordinates is None


SPELLINGS = [
    {"header": None},
    {"header": "File,Latitude,Longitude"},
    {"separator": ";"},
    {"separator": "\t", "header": None},
    {"line_end": "\r\n"},
    {"line_end": "  \r\n\r\n"},
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_a_table_reads_the_same_in_every_spelling(tmp_path, city, spelling):
    other = write_own(tmp_path / "other", positions(), NAMES, NAMES, **spelling)
    assert load(other).fingerprint() == load(city).fingerprint()


def test_byte_order_mark_back_slashes_quotes_and_columns_in_another_order(tmp_path, city):
    rows = [(f'"{lon}"', name.replace("/", "\\"), "x", lat) for name, lat, lon in positions()]
    other = write_own(tmp_path / "other", rows, NAMES, NAMES, header="\ufefflon,file,remark,lat")
    assert load(other).fingerprint() == load(city).fingerprint()


def test_decimal_commas_between_semicolons(tmp_path, city):
    rows = [(name, lat.replace(".", ","), lon.replace(".", ",")) for name, lat, lon in positions()]
    other = write_own(tmp_path / "other", rows, NAMES, NAMES, separator=";")
    assert np.array_equal(load(other).queries.coordinates, load(city).queries.coordinates)


def test_a_path_is_absolute_or_below_the_root_or_the_working_folder(city, monkeypatch):
    assert load("city", root=city.parent).fingerprint() == load(city).fingerprint()
    monkeypatch.chdir(city.parent)
    assert str(city) in load("city").layout and str(city) in load("city", root=city / "queries").layout
    with pytest.raises(DatasetNotFoundError, match="There is no folder .*/town.*queries and references"):
        load("town")


@pytest.mark.parametrize(
    ("line", "error", "what"),
    [
        ("queries/x.jpg,48,11", DatasetNotFoundError, r"Line 22 of .*places\.csv names 'queries/x.jpg', which is not"),
        ("x.jpg,48,11", DatasetNotFoundError, "neither in queries nor in references"),
        ("queries/3.jpg,48,11", DatasetCorruptError, "second time"),
        ("queries/x.jpg,north,11", DatasetCorruptError, "'north' and '11' .* no numbers"),
        ("queries/x.jpg,,", DatasetCorruptError, "no numbers"),
        ("queries/x.jpg,nan,11", DatasetCorruptError, "nowhere on Earth"),
        ("queries/x.jpg,144.9,-37.8", DatasetCorruptError, r"latitude 144\.9 .*look swapped.*file,lon,lat"),
        ("queries/x.jpg,48,200", DatasetCorruptError, "from -180 to 180"),
        ("queries/x.jpg,48", DatasetCorruptError, "Line 22 .* has 2 cells, but file,lat,lon"),
    ],
)
def test_a_wrong_line_is_named(city, line, error, what):
    with (city / "places.csv").open("a") as table:
        table.write(line + "\n")
    with pytest.raises(error, match=what):
        load(city)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"file,lat,lon\n", "a header and no rows"),
        ("file,lat,lon\n".encode("utf-16"), "not UTF-8"),
        (b"queries/0.jpg,48,11\n", "no position of a file in references"),
        (b"query,reference\n0.jpg,\n", "names the query 0.jpg without a reference"),
        (b"query,reference\n,0.jpg\n", "names no query"),
        (b"0.jpg,1.jpg,\n", "no numbers"),
        (b"0.jpg,0.jpg\n", "names one place, which cannot be split"),
        (b"0.jpg,77.jpg\n", "'references/77.jpg', which is not there"),
    ],
)
def test_a_wrong_table_is_answered(city, content, what):
    (city / "places.csv").write_bytes(content)
    with pytest.raises(UserError, match=what):
        load(city)


def test_folders_and_tables_that_are_not_there_or_too_many(city):
    (city / "second.csv").write_text("")
    with pytest.raises(DatasetNotFoundError, match=r"2 tables \(places\.csv, second\.csv\)"):
        load(city)
    for table in city.glob("*.csv"):
        table.unlink()
    assert positives(load(city)) == [[8], [9]]  # without any, names that match are pairs
    (city / "references/9.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match="has no table"):
        load(city)
    (city / "queries").rename(city / "photos")
    with pytest.raises(DatasetNotFoundError, match="has no folder queries"):
        load(city)


def test_own_data_say_that_their_cameras_are_centred(city):
    assert not load(city).centred and "centre" not in load(city).layout
    asked = load(city, centred=True)
    assert asked.centred and "cameras at the centres of their tiles" in asked.layout
    (city / "dataset.json").write_text('\ufeff{"centred": true}', encoding="utf-8")
    assert load(city).centred and load(city, "train").centred and not load(city, centred=False).centred
    assert is_centred("folder:city", city.parent) and not is_centred(f"folder:{city}", centred=False)
    assert load(city).fingerprint() == load(city, centred=False).fingerprint()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"centred": 1}', '{"centered": true}', "{" * 9, "[" * 99_999])
def test_a_wrong_statement_is_answered(city, content):
    (city / "dataset.json").write_text(content)
    with pytest.raises(DamagedFileError, match=r'dataset\.json .*It may hold {"centred": true}'):
        load(city)
    with pytest.raises(UserError, match="--data.centred is 'yes'. Give true or false"):
        load(city, centred="yes")


@pytest.mark.parametrize("options", [{"radius": 0.0}, {"radius": float("nan")}, {"test_share": 1.1}, {"test_share": 0}])
def test_options_that_mean_nothing(city, options):
    with pytest.raises(UserError, match="radius must be above 0"):
        load(city, **options)
