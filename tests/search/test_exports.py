"""Answers as files: what other programs read, written while it comes, in whole lines."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.search import Answer, Locator, Match, build_index
from geodtr_plugin.search.answers import as_geojson, as_json
from geodtr_plugin.search.errors_in_metres import LocationErrors
from geodtr_plugin.search.exports import COLUMNS, EXPORTS, Writer, as_text
from geodtr_plugin.utils.visible import from_csv_cell

GPX = "{http://www.topografix.com/GPX/1/1}"
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180)) | st.just((None, None))
MATCHES = st.builds(
    lambda name, similarity, place, heading: Match(name, similarity, *place, heading),
    NAMES, st.floats(-1, 1), PLACES, st.none() | st.floats(0, 360),
)  # fmt: skip
ANSWERS = st.lists(
    st.builds(Answer, NAMES, st.lists(MATCHES, min_size=1, max_size=3).map(tuple))
    | st.builds(Answer, NAMES, fault=st.just("is empty")),
    max_size=4,
)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(ANSWERS)
def test_every_format_can_be_read_back(answers):
    assert json.loads(as_text(answers, "json")) == as_json(answers)
    features = json.loads(as_text(answers, "geojson"))
    assert features == as_geojson(answers)
    rows = list(csv.DictReader(io.StringIO(as_text(answers, "csv"))))
    matches = [(answer, match) for answer in answers for match in answer.matches or (None,)]
    assert len(rows) == len(matches)
    for row, (answer, match) in zip(rows, matches):
        assert row["left_out"] == (answer.fault or "") and not row["query"].startswith(("=", "+", "@"))
        if match is not None:
            assert row["lat"] == ("" if match.lat is None else str(match.lat))
            assert row["heading"] == ("" if match.heading is None else str(round(match.heading, 2)))
    placed = [match for answer in answers for match in answer.matches if match.lat is not None]
    waypoints = ET.fromstring(as_text(answers, "gpx").encode()).findall(f"{GPX}wpt")
    assert len(waypoints) == len(placed)
    for waypoint, match in zip(waypoints, placed):
        assert float(waypoint.get("lat")) == pytest.approx(match.lat, abs=1e-7)
        assert float(waypoint.get("lon")) == pytest.approx(match.lon, abs=1e-7)
        assert [child.tag for child in waypoint] == [f"{GPX}name", f"{GPX}desc"]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(ANSWERS)
def test_features_follow_the_standard(answers):
    """RFC 7946: longitude first, within the ranges of WGS 84; a feature without a place has a null geometry."""
    for feature in as_geojson(answers)["features"]:
        assert set(feature) == {"type", "geometry", "properties"} and feature["type"] == "Feature"
        if feature["geometry"] is not None:
            assert set(feature["geometry"]) == {"type", "coordinates"} and feature["geometry"]["type"] == "Point"
            lon, lat = feature["geometry"]["coordinates"]
            assert -180 <= lon <= 180 and -90 <= lat <= 90


@settings(max_examples=20, deadline=None, derandomize=True)
@given(ANSWERS, st.sampled_from(["json", "geojson", "csv", "gpx"]))
def test_what_is_written_at_any_time_is_whole_lines(answers, format):
    written: list[str] = []
    with Writer(format, written.append) as writer:
        for answer in answers:
            writer.add(answer)
            assert written[-1].endswith("\n") or written[-1] == ""
    head = EXPORTS[format].head.count("\n")
    for line in "".join(written[:-1]).split("\n")[head:-1]:
        if format == "gpx":
            ET.fromstring(line)
        elif format == "csv":
            assert len(next(csv.reader([line]))) == len(COLUMNS)
        else:
            json.loads(line.removeprefix(","))


def test_every_property_has_a_column():
    match = Match("1.png", 0.9, 48.0, 11.0, 90.0, gap=0.25)
    answer = Answer("a.jpg", (match,), "is empty", probability=0.00001)  # rounded to 0, which must not be left out
    (value,) = as_json([answer], LocationErrors({"a.jpg": (48.0, 11.0)}))
    assert {*value, *value["matches"][0]} - {"matches"} == set(COLUMNS)


def test_a_cell_that_a_spreadsheet_would_compute_is_text():
    (row,) = csv.DictReader(io.StringIO(as_text([Answer("=1+1", (Match("@x", 0.5, -3.0, 1.0),))], "csv")))
    assert (row["query"], row["path"], row["lat"]) == ("'=1+1", "'@x", "-3.0") and from_csv_cell(row["path"]) == "@x"


@pytest.fixture
def index(run, tiles, tmp_path):
    build_index(run, tiles / "places.csv", tmp_path / "i", device="cpu", progress=False)
    return tmp_path / "i"


@pytest.mark.parametrize("format", ["table", "json", "geojson", "csv", "gpx"])
def test_answers_appear_as_they_come_and_an_early_end_leaves_a_document(index, tiles, capsys, monkeypatch, format):
    seen = []
    whole = Locator.answers

    def interrupted(self, images, *args, **options):
        for number, answer in enumerate(whole(self, images, *args, **options)):
            yield answer
            seen.append(capsys.readouterr().out)
            if number == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(Locator, "answers", interrupted)
    words = f"--index {index} {tiles} --format {format} --top 2 --device cpu --batch-size 1"
    assert locate_command(words.split()) == 130
    assert len(seen) == 3 and all(f"{tiles}/{number}.png" in text for number, text in enumerate(seen))
    document = "".join(seen) + capsys.readouterr().out
    if format == "json":
        assert len(json.loads(document)) == 3
    if format == "geojson":
        assert len(json.loads(document)["features"]) == 6
    if format == "gpx":
        assert len(ET.fromstring(document.encode())) == 6
    if format == "csv":
        assert len(list(csv.DictReader(io.StringIO(document)))) == 6


def test_what_fails_before_the_first_answer_leaves_nothing(index, tiles, capsys, monkeypatch):
    def broken(self, *args, **options):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Locator, "answers", broken)
    assert locate_command(f"--index {index} {tiles} --format json --device cpu".split()) == 130
    assert capsys.readouterr().out == ""
