"""Turned tests and tried headings, with a network that turns with its image: it keeps the columns of a panorama."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.datasets import ImageArray
from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.data import load_splits
from geodtr_plugin.harness.details import write_ranks
from geodtr_plugin.harness.evaluate import Evaluator
from geodtr_plugin.harness.results import heading_lines
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.methods import TwoTower
from geodtr_plugin.utils.errors import UserError

N, HEIGHT, WIDTH, SIDE = 32, 4, 32, 96
NAME = "synth-suburb"
WORDS = f"--method simple --train {NAME} --data.count {N} --workers 0 --device cpu"


class MiddleColumns(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, images):
        first = (images.shape[-1] - self.width) // 2
        columns = images[:, 0, :, first : first + self.width].mean(1)
        return normalize(columns - columns.mean(dim=1, keepdim=True), dim=1)


class Planted(TwoTower):
    method_name = "planted"

    def __init__(self, width: int = WIDTH, reference_size=(HEIGHT, WIDTH), polar: bool = False):
        super().__init__((HEIGHT, width), reference_size, polar)
        self.query_tower = self.reference_tower = MiddleColumns(width)
        self.embedding_size = width


def panoramas() -> np.ndarray:
    """Columns at random, a place each, uint8 `[N, HEIGHT, WIDTH, 3]`."""
    columns = np.random.default_rng(0).integers(0, 256, (N, 1, WIDTH, 1), dtype=np.uint8)
    return np.broadcast_to(columns, (N, HEIGHT, WIDTH, 3)).copy()


def tiles() -> np.ndarray:
    """Square tiles that unroll to these panoramas: each column is a sector, uint8 `[N, SIDE, SIDE, 3]`."""
    row, column = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    sector = np.rint(np.arctan2(-column, row) / (2 * np.pi) * WIDTH).astype(int) % WIDTH
    return panoramas()[:, 0][:, sector]


@pytest.fixture(scope="module")
def split():
    loaded = load_splits(settings(WORDS))[1][NAME]
    return replace(loaded, queries=ImageArray(panoramas(), ids=map(str, range(N))), references=ImageArray(panoramas()))


def evaluator(split, words: str = "", model: TwoTower | None = None, folder=None) -> Evaluator:
    model = model or Planted()
    narrow = WIDTH if model.query_size[1] < WIDTH else None
    transforms = {
        "query": ImageTransform(*model.query_size, panorama_width=narrow),
        "reference": ImageTransform(*model.reference_size, polar=model.polar),
    }
    config = settings(f"{WORDS} --evaluation.embeddings {'file' if folder else 'memory'} {words}")
    return Evaluator(config, model, transforms, {NAME: split}, torch.device("cpu"), folder and RunFolder(folder))


def numbers(split, words: str = "", model: TwoTower | None = None) -> dict[str, float]:
    return evaluator(split, words, model)()[0][NAME]


def test_turned_queries_are_lost_and_tried_headings_find_them(split):
    assert numbers(split)["recall_at_1"] == 100
    assert numbers(split, "--view.turned tests")["recall_at_1"] < 20
    found = numbers(split, f"--view.turned tests --headings {WIDTH}")
    assert found["recall_at_1"] == 100 and found["heading_median_error"] == 0
    assert found["heading_within_5"] == found["heading_within_10"] == found["heading_within_5_of_hits"] == 100


def test_headings_are_exact_and_their_schedule_is_that_of_all_runs(split):
    measured = evaluator(split, f"--view.turned always --headings {WIDTH}").measure(split, details=True)[1]
    assert np.array_equal(measured.headings.found, measured.headings.true)
    drawn = np.random.default_rng(0).random(N)
    assert np.array_equal(measured.headings.true, [int(turn * WIDTH) * 360 / WIDTH for turn in drawn])
    assert len(np.unique(measured.headings.true)) > 10


def test_coarse_headings_err_by_half_a_step_at_most(split):
    images = ImageArray(np.mean([np.roll(panoramas(), k, axis=2) for k in range(-2, 3)], axis=0).astype(np.uint8))
    measure = evaluator(split, "--view.turned tests --headings 16")
    headings = measure.measure(replace(split, queries=images, references=images), details=True)[1].headings
    between = headings.true % (360 / 16) > 0
    assert 5 < between.sum() < 27 and not headings.errors[~between].any()
    assert np.median(headings.errors[between]) == 360 / 32


@pytest.mark.parametrize("words", ["", "--view.turned tests"])
def test_one_heading_is_the_plain_test(split, words):
    one, plain = numbers(split, f"{words} --headings 1"), numbers(split, words)
    assert {name: one.pop(name) for name in list(one) if name.startswith("heading")} and one == plain


def test_files_of_copies_give_the_numbers_of_memory(split, tmp_path):
    words = "--view.turned tests --headings 4"
    file = evaluator(split, words, folder=tmp_path)
    assert file()[0][NAME] == numbers(split, words)
    stored = {role: np.load(RunFolder(tmp_path).embeddings(NAME, role)) for role in ("query", "reference")}
    assert stored["query"].shape == (N, 4 * WIDTH) and stored["reference"].shape == (N, WIDTH)


def test_of_a_part_of_the_panorama_the_references_are_turned(split):
    unrolled = replace(split, references=ImageArray(tiles()))
    words, model = "--fov 90 --view.heading fixed --view.turned tests", Planted(WIDTH // 4, polar=True)
    assert numbers(unrolled, "--fov 90 --view.heading fixed", model)["recall_at_1"] == 100
    assert numbers(unrolled, words, model)["recall_at_1"] < 30
    found = numbers(unrolled, f"{words} --headings {WIDTH}", model)
    assert found["recall_at_1"] == 100 and found["heading_median_error"] == 0 and found["heading_within_5"] == 100
    assert evaluator(unrolled, f"{words} --headings 8", model).embed(unrolled)["reference"].shape == (N, 8 * 8)


class TopRow(nn.Module):
    """The north of a square tile, without its corners."""

    def forward(self, images):
        columns = images[:, 0, 0, 1:-1]
        return normalize(columns - columns.mean(dim=1, keepdim=True), dim=1)


def test_square_references_turn_by_quarters(split):
    """Tiles whose four sides are what is seen to the north, east, south and west."""
    sides = np.random.default_rng(1).integers(0, 256, (N, 4, 8), dtype=np.uint8)
    squares = np.zeros((N, 8, 8), np.uint8)
    for clockwise in range(4):
        top = np.zeros_like(squares)
        top[:, 0, 1:-1] = sides[:, clockwise, 1:-1]
        squares += np.rot90(top, -clockwise, axes=(1, 2))
    seen = np.roll(sides[:, [2, 3, 0, 1]].reshape(N, WIDTH), -4, axis=1)  # column 0 looks south
    views = np.broadcast_to(seen[:, None, :, None], (N, HEIGHT, WIDTH, 3)).copy()
    data = replace(
        split, queries=ImageArray(views), references=ImageArray(np.repeat(squares[..., None], 3, axis=3))
    )
    model = Planted(8, reference_size=(8, 8))
    model.query_tower, model.reference_tower = MiddleColumns(6), TopRow()
    for quarters in range(4):
        measure = evaluator(data, "--fov 90 --view.heading fixed --headings 4", model)
        measure.orientation.turns = lambda count, turn=quarters / 4: np.full(count, turn)
        scores, details = measure.measure(data, details=True)
        assert scores["recall_at_1"] == 100 and set(details.headings.found) == {90.0 * quarters}


def test_the_file_of_ranks_and_the_report_tell_headings(split, tmp_path):
    measure = evaluator(split, f"--view.turned tests --headings {WIDTH}")
    scores, details = measure.measure(split, details=True)
    write_ranks(tmp_path / "ranks.csv", split, details)
    with (tmp_path / "ranks.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["heading"]) for line in lines] == pytest.approx(details.headings.true, abs=0.005)
    assert all(line["heading"] == line["true_heading"] for line in lines)
    (line,) = heading_lines({"tests": {NAME: {"last": scores}}})
    assert line == (
        "Headings on synth-suburb: median error 0.00 degrees, 100.00 % within 5, 100.00 % within 10; where the first "
        "reference is right, 100.00 % within 5, 100.00 % within 10."
    )
    assert heading_lines({"tests": {NAME: {"last": numbers(split)}}}) == []


def test_numbers_are_published_under_the_name_of_what_is_known():
    named = {words: settings(f"{WORDS} {words}").recipe.view.test_name("cvusa") for words in
             ("", "--headings 8", "--view.turned tests", "--fov 90", "--fov 90 --view.heading fixed",
              "--fov 90 --view.heading fixed --view.turned tests")}  # fmt: skip
    assert list(named.values()) == ["cvusa", "cvusa", "cvusa@360", "cvusa@90", "cvusa@90, known heading", "cvusa@90"]


def test_training_pairs_are_measured_as_they_are_trained(split):
    unturned = evaluator(split).embed(split)["query"]
    for words in ("--view.turned tests", f"--view.turned tests --headings {WIDTH}"):
        query, _ = evaluator(split, words).embed_pairs(split)
        assert torch.equal(query, unturned)
    assert not torch.equal(evaluator(split, "--view.turned always").embed_pairs(split)[0], unturned)


@pytest.mark.parametrize(
    "words, model, said",
    [
        ("--headings 33", Planted(), "more than the 32 columns"),
        ("--fov 90 --headings 8", Planted(8, reference_size=(8, 8)), "square tiles turn by quarters"),
        ("--fov 90 --headings 4", Planted(8), "square tiles turn by quarters"),
    ],
)
def test_what_cannot_be_turned_is_refused(split, words, model, said):
    with pytest.raises(UserError, match=said):
        evaluator(split, words, model)


def test_a_model_that_compares_headings_itself_tries_none_and_tells_them(split):
    model = Planted()
    model.distance = CircularCorrelation((1, WIDTH, 1))
    found = numbers(split, "--view.turned tests", model)
    assert found["recall_at_1"] == 100 and found["heading_median_error"] == 0 and found["heading_within_5"] == 100
    with pytest.raises(UserError, match="planted compares all headings by itself"):
        evaluator(split, "--headings 4", model)
