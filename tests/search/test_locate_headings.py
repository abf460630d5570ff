"""Photos whose north is unknown: what a search finds that tries headings, and what its results say of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from trees import smooth_noise

from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.search import Answer, IndexGallery, Locator, Match, VectorIndex, build_index
from geodtr_plugin.search.exports import as_text
from geodtr_plugin.search.locator import best_over_headings
from geodtr_plugin.search.map_page import write_map
from geodtr_plugin.utils.errors import UserError

WIDTH, H = 88, 11  # columns of a panorama, and headings of 8 columns each


def panorama(seed: int) -> torch.Tensor:
    return torch.tensor(smooth_noise("ground", seed, 32, WIDTH)).permute(2, 0, 1)


@pytest.fixture(scope="module")
def index(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("city")
    for number in range(10):
        Image.fromarray(smooth_noise("aerial", number, 32, 32)).save(folder / f"{number}.png")
    (folder / "places.csv").write_text("file,lat,lon\n" + "".join(f"{i}.png,48.{i},11\n" for i in range(10)))
    build_index(run, folder / "places.csv", folder / "i", device="cpu", progress=False)
    return folder / "i"


def test_matches_are_those_of_a_loop_over_turned_photos(index):
    photos = [panorama(seed) for seed in range(20, 23)]
    plain, trying = Locator.load(index, device="cpu"), Locator.load(index, device="cpu", headings=H)
    turned = [photo.roll(8 * k, -1) for photo in photos for k in range(H)]
    cosines = (plain.embedder.embed(turned, "query") @ plain.gallery.index.vectors.T).reshape(3, H, 10)
    for answer, of_photo in zip(trying.locate(photos, k=4), cosines):
        best = of_photo.max(axis=0)
        order = np.argsort(-best)[:4]
        assert [int(match.path[0]) for match in answer.matches] == order.tolist()
        assert [match.similarity for match in answer.matches] == pytest.approx(best[order], abs=1e-6)
        assert [match.heading for match in answer.matches] == pytest.approx(of_photo.argmax(axis=0)[order] * 360 / H)


def test_a_photo_that_was_turned_is_found_with_its_heading(index):
    plain = Locator.load(index, device="cpu")
    photos = [panorama(seed) for seed in range(30, 34)]
    vectors = plain.embedder.embed(photos, "query")
    trying = Locator.load(index, device="cpu", headings=WIDTH)
    itself = Locator(trying.embedder, IndexGallery(VectorIndex(vectors), [(str(i), None, None) for i in range(4)]))
    columns = [0, 22, 44, 87]  # by which the middle looks clockwise of north
    answers = itself.locate([photo.roll(-k, -1) for photo, k in zip(photos, columns)], k=1)
    for number, (answer, k) in enumerate(zip(answers, columns)):
        (match,) = answer.matches
        assert match.path == str(number) and match.heading == pytest.approx(k * 360 / WIDTH)
        assert match.similarity == pytest.approx(1, abs=1e-5)


def test_one_heading_is_the_plain_search(index):
    photos = [panorama(seed) for seed in range(40, 43)]
    plain, one = (Locator.load(index, device="cpu", headings=n).locate(photos, k=10) for n in (0, 1))
    assert all(match.heading is None for answer in plain for match in answer.matches)
    for answer, same in zip(plain, one):
        assert [replace(match, heading=0.0) for match in answer.matches] == list(same.matches)


def test_a_distance_of_the_model_tells_headings_by_itself(index):
    """Vectors as those of a model that compares all headings: the middle of its map looks where it fits."""
    locator = Locator.load(index, device="cpu")
    size = locator.gallery.index.vectors.shape[1]
    locator.embedder.model.distance = CircularCorrelation((1, 8, size // 8))
    maps = locator.gallery.index.vectors[:6].reshape(6, 8, -1)
    turned = np.stack([np.roll(one, -k, axis=0) for k, one in enumerate(maps)])  # map k begins at column k of its own
    locator.embedder.embed = lambda images, role: turned.reshape(6, size)
    answers = locator.locate([panorama(seed) for seed in range(6)], k=3)
    assert [answer.matches[0].path for answer in answers] == [f"{i}.png" for i in range(6)]
    assert [answer.matches[0].heading for answer in answers] == [45.0 * k for k in range(6)]
    assert all(match.heading is not None for answer in answers for match in answer.matches)
    with pytest.raises(UserError, match="compares all headings by itself"):
        images = {role: transform.image for role, transform in locator.embedder.transforms.items()}
        type(locator.embedder)(locator.embedder.model, images, torch.device("cpu"), headings=4)


def test_copies_that_find_the_same_reference_count_once():
    similarities = np.array([[0.9, 0.5, 0.4], [0.9, 0.8, 0.1], [0.7, 0.6, 0.5]], np.float32)
    rows = np.array([[7, 2, 3], [5, 7, 1], [5, 2, 9]])
    found, near, headings = best_over_headings(similarities, rows)
    assert near.tolist() == [5, 7, 2] and headings.tolist() == [120, 0, 240]
    assert found.tolist() == pytest.approx([0.9, 0.9, 0.6])


ANSWERS = [Answer("a.jpg", (Match("1.png", 0.9, 48.0, 11.0, 359.7), Match("2.png", 0.5, None, None, 45.0)))]


def test_results_tell_headings_where_they_are_known(index, tmp_path):
    first, second = as_text(ANSWERS).splitlines()[2:]
    assert as_text(ANSWERS).splitlines()[1].split() == ["rank", "similarity", "lat", "lon", "heading", "file"]
    assert first.split()[4] == "0°" and second.split()[4] == "45°"
    (query,) = json.loads(as_text(ANSWERS, "json"))
    assert [match["heading"] for match in query["matches"]] == [359.7, 45.0]
    features = json.loads(as_text(ANSWERS, "geojson"))["features"]
    assert [feature["properties"]["heading"] for feature in features] == [359.7, 45.0]
    plain = [Answer("a.jpg", (Match("1.png", 0.9, 48.0, 11.0),))]
    assert "heading" not in as_text(plain) + as_text(plain, "json") + as_text(plain, "geojson")
    locator = Locator.load(index, device="cpu")
    for answers, tips in ((ANSWERS, ["359.7"]), (plain, [])):
        write_map(answers, locator, tmp_path / "map.html")
        page = (tmp_path / "map.html").read_text(encoding="utf-8")
        assert re.findall(r'class="tip"[^>]* transform="rotate\(([\d.]+)\)"', page) == tips
        assert ("looks to 0°" in page) == bool(tips)


@pytest.mark.parametrize(
    "headings, said", [(-1, "--headings is -1"), (WIDTH + 1, "more than the 88 columns of a panorama")]
)
def test_numbers_that_cannot_be_are_a_sentence(index, headings, said, capsys):
    photo = index.parent / "1.png"
    assert locate_command(f"--index {index} {photo} --device cpu --headings {headings}".split()) == 1
    assert said in capsys.readouterr().err


def test_a_part_of_a_panorama_is_not_turned(index):
    embedder = Locator.load(index, device="cpu").embedder
    images = {role: transform.image for role, transform in embedder.transforms.items()}
    images["query"] = replace(images["query"], panorama_width=4 * WIDTH)
    with pytest.raises(UserError, match="cannot be turned"):
        type(embedder)(embedder.model, images, embedder.device, headings=4)


def test_the_command_prints_a_column_of_headings(index, capsys):
    photo = index.parent / "1.png"
    assert locate_command(f"--index {index} {photo} --device cpu --top 2 --headings 4".split()) == 0
    head, *rows = capsys.readouterr().out.splitlines()[1:]
    assert "heading" in head and all(re.search(r" (0|90|180|270)° ", row) for row in rows)
