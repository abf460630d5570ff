"""What a report draws: its charts, its choice of queries, its map and its look into the network, on made-up data."""

from __future__ import annotations

import math
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import Page

from geodtr_plugin.datasets import ImageArray, Split
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.harness.report import inside
from geodtr_plugin.harness.report.charts import Axis, Series, axis_of, line_chart, looks
from geodtr_plugin.harness.report.curves import count_ranks, heading_part, recall_series
from geodtr_plugin.harness.report.html import Html, markup, tag
from geodtr_plugin.harness.report.inside import LAYOUTS, UNMATCHED, measure_distances
from geodtr_plugin.harness.report.material import RankTable
from geodtr_plugin.harness.report.pictures import heat_map
from geodtr_plugin.harness.report.places import draw_map
from geodtr_plugin.harness.report.queries import choose_queries
from geodtr_plugin.methods import create_model

RANKS = st.lists(st.one_of(st.integers(1, 5000).map(float), st.just(math.nan)), min_size=1, max_size=60)


def ranked(ranks, seed: int = 0) -> RankTable:
    """A table with these ranks; NaN is a query without a right reference."""
    ranks, rng = np.array(ranks, np.float64), np.random.default_rng(seed)
    similarity, wrong = rng.uniform(-1, 1, (2, len(ranks)))
    similarity[np.isnan(ranks)] = math.nan
    numbers = {"rank": ranks, "similarity": similarity, "wrong_similarity": wrong}
    return RankTable([f"q{i}" for i in range(len(ranks))], [f"r{i}" for i in range(len(ranks))], numbers)


def split_of(count: int, kind: str = "metres", spread: float = 1000.0, side: int = 16) -> Split:
    """Square images that are the same in both roles, at random places."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    places = rng.uniform(0, spread, (count, 2))
    images = [ImageArray(pixels, [f"{letter}{i}" for i in range(count)], places, kind) for letter in "qr"]
    rows = np.arange(count)
    return Split("tiny", "test", *images, np.stack([rows, rows], 1), rows, rows, Truth.diagonal(count))


@settings(max_examples=60, deadline=None)
@given(low=st.floats(1e-6, 1e6), factor=st.floats(1.001, 1e6), log=st.booleans())
def test_ticks_lie_on_the_axis_and_are_few(low, factor, log):
    axis = Axis("x", low, low * factor, log)
    ticks = axis.ticks()
    assert ticks == sorted(set(ticks)) and len(ticks) <= 15
    assert all(low * (1 - 1e-6) <= tick <= low * factor * (1 + 1e-6) for tick in ticks)
    shares = [axis.share(tick) for tick in (low, *ticks, low * factor)]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=9), st.booleans(), st.booleans())
def test_an_axis_holds_whatever_comes(values, log, from_zero):
    axis = axis_of("y", values, log=log, from_zero=from_zero and not log)
    assert axis.low < axis.high and (axis.low > 0 or not log)
    y = [value if math.isfinite(value) else math.nan for value in values]
    Page(line_chart("title", [Series("a", range(len(y)), y)], Axis("x", 0, 10), axis))


def test_lines_differ_by_more_than_colour():
    found = looks([Series(str(i), [], []) for i in range(28)] + [Series("3", [], [], level=True)])
    assert len(set(found[:28])) == 28 and len({dash for _, dash in found[:4]}) == 4
    assert found[28][0] == found[3][0], "chance has the colour of its set"


def test_points_lie_where_the_numbers_say():
    chart = line_chart("t", [Series("a", [0, 5, 10], [0, 50, 100])], Axis("x", 0, 10), Axis("y", 0, 100))
    found = re.search(r'<path d="M([^"]+)"', chart)
    points = [tuple(map(float, point.split())) for point in found[1].split("L")] if found else []
    assert points[0] == (46, 200) and points[2] == (350, 10) and points[1] == (198, 105)


@settings(max_examples=40, deadline=None)
@given(RANKS)
def test_bars_count_every_query_once(ranks):
    bars = count_ranks(ranked(ranks))
    assert sum(count for _, count in bars) == len(ranks)
    assert dict(bars)["1"] == sum(rank == 1 for rank in ranks)
    assert dict(bars).get("none", 0) == sum(map(math.isnan, ranks))


def test_errors_of_headings_are_the_shorter_way_round():
    told = {"heading": np.array([359, 100, 4, 180, math.nan]), "true_heading": np.array([1.0, 93, 4, 0, 0])}
    table = RankTable(list("abcde"), [""] * 5, told)  # 2, 7, 0 and 180 degrees; the last has no right reference
    material = SimpleNamespace(results={"tests": {"turned": {}}}, ranks=lambda test: table)
    assert table.heading_errors[:4].tolist() == [2, 7, 0, 180]
    assert "0–5: 2, 5–10: 1, 10–20: 0, 20–45: 0, 45–90: 0, 90–180: 1" in heading_part(material)
    told.clear()
    assert heading_part(material) is None


@settings(max_examples=40, deadline=None)
@given(RANKS)
def test_recall_over_k_is_that_of_a_loop(ranks):
    entry = {"last": {"num_references": 5000}, "chance_recall_at_1": 0.02}
    line, chance = recall_series("a", ranked(ranks), entry)
    for k, recall, by_chance in zip(line.x, line.y, chance.y):
        assert recall == pytest.approx(100 * sum(rank <= k for rank in ranks) / len(ranks))
        assert by_chance == pytest.approx(100 * k / 5000)
    assert (line.x[0], line.x[-1]) == (1, 5000)


@settings(max_examples=40, deadline=None)
@given(RANKS)
def test_the_best_are_better_than_typical_ones_and_these_than_the_worst(ranks):
    table = ranked(ranks)
    groups = [table.rank[rows] for rows in choose_queries(table).values()]
    rows = np.concatenate(list(choose_queries(table).values()))
    assert len(set(rows.tolist())) == len(rows), "no query stands twice"
    for better, worse in zip(groups, groups[1:]):
        assert better.max() <= worse.min()
    assert groups[0].min() == table.rank.min() and groups[-1].max() == table.rank.max()


@pytest.mark.parametrize("kind", ["metres", "latlon"])
def test_a_map_shows_every_query_where_it_is(kind):
    split = split_of(20, kind, spread=0.01 if kind == "latlon" else 500)
    ranks = ranked([1] * 12 + [7] * 8)
    source = draw_map("tiny", split, ranks)
    grey, lines, crosses, dots = re.findall(r'<path d="([^"]*)" fill="none" stroke="[^"]+" stroke-width', source)[:4]
    assert (dots.count("M"), crosses.count("M"), grey.count("M"), lines.count("L")) == (12, 8, 20, 8)
    assert "12 of 20 queries found" in source
    x = [float(word.split()[0]) for word in dots.split("M")[1:]]
    east = split.queries.coordinates[:12, 1 if kind == "latlon" else 0]
    assert np.corrcoef(x, east)[0, 1] > 0.999


def test_the_map_of_a_large_set_stays_light():
    assert len(draw_map("large", split_of(9000, side=1), ranked([1, 9] * 4500))) < 120_000


def network_of_pixels() -> SimpleNamespace:
    """A network whose embedding is the image itself, of unit norm: of the same pixels the distance is 0."""

    def encode(images):
        return torch.nn.functional.normalize(images.flatten(1), dim=1)

    return SimpleNamespace(
        model=SimpleNamespace(encode_query=encode, encode_reference=encode, modules=list, eval=lambda: None),
        input_of=lambda role, stored: stored[None].float() / 255 - 0.5,
        similarities=lambda query, reference: (query * reference).sum(1),
    )


def test_distances_are_those_of_the_layouts():
    found = measure_distances(network_of_pixels(), split_of(11), time.monotonic() + 60)
    assert list(found) == [*LAYOUTS, UNMATCHED] and all(len(values) == 11 for values in found.values())
    assert found["as it is"].max() < 1e-3 and all(found[name].min() > 0.5 for name in list(found)[1:])


def test_one_batch_is_measured_however_long_it_takes():
    assert len(measure_distances(network_of_pixels(), split_of(30), until=0.0)["as it is"]) == inside.BATCH


def test_sets_for_which_no_time_is_left_are_named(monkeypatch):
    monkeypatch.setattr(inside, "SECONDS", 0.0)
    monkeypatch.setattr(inside, "Network", lambda *arguments: network_of_pixels())
    tests = {name: split_of(30) for name in ("first", "second", "third")}
    drawn = inside.distances_part(SimpleNamespace(network=(None, None), tests=tests))
    assert "first, 4 pairs" in drawn and "Not measured, to save time: second, third." in drawn


@pytest.mark.parametrize("method", ["geodtr_plus", "geodtr", "safa"])
def test_masks_are_those_that_the_embedding_is_made_with(method):
    size = {"query_size": (32, 88), "backbone": "tiny", "pretrained": False}
    model = create_model(method, **size).eval()
    images = torch.randn(2, 3, 32, 88)
    with torch.no_grad():
        masks = model.query_tower.masks(images)
        features = model.query_tower.trunk(images).flatten(2)
        summed = (features @ masks.flatten(2).transpose(1, 2)).flatten(1)
        embedding = model.encode_query(images)
    assert masks.shape == (2, 8, 4, 11)
    assert torch.allclose(torch.nn.functional.normalize(summed, dim=1), embedding, atol=1e-5)


def test_colours_of_a_mask_rise_in_lightness():
    from base64 import b64decode
    from io import BytesIO

    from PIL import Image

    source = re.search('base64,([^"]+)"', heat_map(np.arange(64.0)[None], "a"))
    grey = np.asarray(Image.open(BytesIO(b64decode(source[1] if source else ""))).convert("L")).astype(int)[0]
    assert (np.diff(grey) >= 0).all() and grey[-1] - grey[0] > 150


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_is_markup(text, attribute):
    page = Page(tag("p", text, [text, None, 3], title=attribute, hidden=False))
    assert [name for name, _ in page.elements] == ["p"] and set(page.elements[0][1]) == {"title"}
    assert markup(Html("<b>")) == "<b>" and "<" not in markup(text)
