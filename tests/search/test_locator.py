"""From photos to matches, tables, GeoJSON, errors in metres, pictures and maps."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from PIL import Image

from geodtr_plugin.search import Answer, IndexGallery, Locator, Match, build_index
from geodtr_plugin.search.answers import as_geojson
from geodtr_plugin.search.contact_sheet import draw_contact_sheet
from geodtr_plugin.search.errors_in_metres import LocationErrors, read_truth
from geodtr_plugin.search.exports import as_text
from geodtr_plugin.search.map_page import write_map
from geodtr_plugin.utils.errors import DamagedFileError, UserError
from geodtr_plugin.utils.projection import Projection


@pytest.fixture
def locator(run, tiles, tmp_path):
    build_index(run, tiles / "places.csv", tmp_path / "i", device="cpu", progress=False)
    return Locator.load(tmp_path / "i", device="cpu")


def test_matches_are_the_most_similar_embeddings(locator, tiles):
    paths = [tiles / f"{i}.png" for i in range(3)]
    tensors = [torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths]
    answers, same = locator.locate(paths, k=4), locator.locate(tensors, k=4)
    queries = locator.embedder.embed([locator.embedder.on_load(image, "query") for image in tensors], "query")
    order = np.argsort(-queries @ locator.gallery.index.vectors.T, axis=1)[:, :4]
    assert [[int(match.path[0]) for match in answer.matches] for answer in answers] == order.tolist()
    assert [answer.matches for answer in answers] == [answer.matches for answer in same]
    first = answers[0].matches[0]
    assert (first.lat, first.lon) == (48 + order[0, 0] / 1000, 11 - order[0, 0] / 500)
    assert first.similarity == pytest.approx(float(queries[0] @ locator.gallery.index.vectors[order[0, 0]]), abs=1e-6)
    assert len(locator.locate(paths[0], k=99)[0].matches) == 10
    assert locator.locate([]) == []
    with pytest.raises(ValueError, match="uint8"):
        locator.locate(torch.zeros(3, 8, 8))


def test_other_weights_are_told(run, tiles, tmp_path, locator):
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    told = []
    Locator.load(tmp_path / "i", run=moved, warn=told.append)
    assert not told
    from geodtr_plugin.methods.weights import load_model
    from geodtr_plugin.utils.files import write_safetensors

    other = {name: tensor + 1 for name, tensor in load_model(run).state_dict().items()}
    write_safetensors(moved / "best.safetensors", other)
    with pytest.warns(UserWarning, match="holds other weights than those that the index was built with"):
        Locator.load(tmp_path / "i", run=moved)
    (moved / "best.safetensors").unlink()
    with pytest.raises(UserError, match="no longer holds best.safetensors"):
        Locator.load(tmp_path / "i", run=moved)
    with pytest.raises(UserError, match="is no index"):
        Locator.load(tiles)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("manifest.json", lambda text: text[: len(text) // 2], "manifest.json cannot be read as JSON"),
        ("manifest.json", lambda text: text.replace('"nprobe": 1', '"nprobe": "1"'), "nprobe is '1', not int"),
        ("manifest.json", lambda text: text.replace('"views"', '"view"'), "manifest.run"),
        ("references.jsonl", lambda text: text[: text.rindex("{")], "has 10 vectors and 9 references"),
        ("references.jsonl", lambda text: text[:-9], "Line 10 of .*references.jsonl cannot be read as JSON"),
        ("references.jsonl", lambda text: text.replace("48.0", "480.0"), "Line 1 of .* 480.0, .* nowhere"),
    ],
)
def test_an_index_that_was_cut_short_is_named(locator, tmp_path, file, change, said):
    path = tmp_path / "i" / file
    path.write_text(change(path.read_text()))
    with pytest.raises(DamagedFileError, match=f"{said}.*Build the index again"):
        Locator.load(tmp_path / "i")


ANSWERS = [
    Answer("a/<q>&.jpg", (Match('x"/1.png', 0.9, 48.0, 11.0), Match("2.png", 0.5, None, None))),
    Answer("bad.jpg", fault="is empty"),
]


def test_geojson_is_longitude_first_and_null_without_place():
    made = json.loads(as_text(ANSWERS, "geojson"))
    assert made == as_geojson(ANSWERS) and made["type"] == "FeatureCollection"
    assert made["features"][0]["geometry"] == {"type": "Point", "coordinates": [11.0, 48.0]}
    assert made["features"][0]["properties"]["rank"] == 1 and made["features"][1]["geometry"] is None
    assert json.loads(as_text(ANSWERS, "json"))[1] == {"query": "bad.jpg", "left_out": "is empty", "matches": []}


def test_the_table_and_the_errors(tiles):
    truth = tiles / "truth.csv"
    truth.write_text("file,lat,lon\n<q>&.jpg,48.0009,11\nreferences/bad.jpg,1,1\nother.jpg,,\n")
    errors = read_truth(truth, ["a/<q>&.jpg", "bad.jpg"])
    assert list(errors.positions) == ["a/<q>&.jpg"]
    assert errors.metres(ANSWERS[0], ANSWERS[0].matches[0]) == pytest.approx(100.08, abs=0.01)
    assert errors.metres(ANSWERS[0], ANSWERS[0].matches[1]) is None
    assert errors.summary(ANSWERS) == (
        "Error of the first match, 1 photos: median 100.1 m, 0.0 % within 25 m, 0.0 % within 100 m."
    )
    table = as_text(ANSWERS, errors=errors).splitlines()
    assert table[2].split() == ["1", "0.9000", "48.000000", "11.000000", "100.1", 'x"/1.png']
    assert table[3].split() == ["2", "0.5000", "-", "-", "-", "2.png"] and len(table) == 4
    assert "no error to tell" in LocationErrors({}).summary(ANSWERS)


def test_the_projection():
    places = np.array([[48.0, 179.999], [48.0005, -179.999]])  # across the date line
    projection = Projection(places, 1000, 700, 50)
    (west, south), (east, north) = projection.points(places)
    assert (west, east) == pytest.approx((50, 950)) and south > north
    metres = np.hypot(east - west, south - north) * projection.metres_a_unit
    assert metres == pytest.approx(np.hypot(0.0005 * 111_195, 0.002 * 111_195 * np.cos(np.radians(48.00025))), rel=1e-3)
    assert Projection(places[:1], 1000, 700, 50).points(places[:1]) == pytest.approx(np.array([[500, 350]]))


def test_the_map_is_whole_safe_and_offline(locator, tiles, tmp_path):
    evil = tiles / '<img src=x onerror=alert(1)>"&.png'
    (tiles / "3.png").rename(evil)
    answers = locator.locate([evil, tiles / "1.png", tiles / "places.csv"], k=10)
    errors = LocationErrors({str(evil): (48.0, 11.0)})
    assert write_map(answers, locator, tmp_path / "map.html", errors) == 2
    page = (tmp_path / "map.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page) and not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    svg = ET.fromstring(re.search(r"<svg.*?</svg>", page, re.S)[0])
    marks = svg.findall(".//*[@data-rank]")
    assert len(marks) == 21 and page.count("data:image/jpeg;base64,") == 22
    first = [mark for mark in marks if mark.get("data-rank") == "1"][0]
    place = next(match for match in answers[0].matches[:1])
    known = {round(48 + i / 1000, 4): i for i in range(10)}[round(place.lat, 4)]
    # ten places from the south-east to the north-west: the drawing runs from its lower right to its upper left
    ys = sorted({float(mark.get("data-y")) for mark in marks}, reverse=True)
    assert float(first.get("data-y")) == pytest.approx(ys[known], abs=0.02)
    dots = svg.find(".//*[@id='tiles']").get("d")
    assert dots.count("M") == 10
    with pytest.raises(UserError, match="no map"):
        nowhere = IndexGallery(locator.gallery.index, [("a", None, None)] * 10)
        write_map(answers, Locator(locator.embedder, nowhere), tmp_path / "no.html")
    assert not (tmp_path / "no.html").exists()


def test_the_contact_sheet(locator, tiles, tmp_path):
    answers = locator.locate([tiles / "1.png", tiles / "2.png"], k=3)
    (tiles / answers[0].matches[0].path).rename(tiles / "$gone_{.png")  # grey in the picture, and no formula
    assert draw_contact_sheet(answers, locator, tmp_path / "sheets/s.png") == 2
    shape = np.asarray(Image.open(tmp_path / "sheets/s.png")).shape
    assert shape[0] > 300 and shape[1] > 600
