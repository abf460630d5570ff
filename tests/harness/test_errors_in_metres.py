"""Errors in metres of a run's answers, by hand from its embeddings, and with the offsets of a head."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import build_image_transforms, build_model, build_role_transforms
from geodtr_plugin.harness.data import load_splits
from geodtr_plugin.harness.evaluate import Evaluator
from geodtr_plugin.harness.metres import measure_metres
from geodtr_plugin.harness.results import table

CPU = torch.device("cpu")
NAME = "synth-suburb-offset"
WORDS = f"--method vigor --recipe laptop_offset_stage2 --train {NAME} --data.count 24 --workers 0 --device cpu"


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    config = settings(WORDS)
    _, tests = load_splits(config)
    model = build_model(config)
    return SimpleNamespace(config=config, model=model, split=tests[NAME], views=build_image_transforms(config, model))


def evaluator(parts, model=None, split=None):
    split = parts.split if split is None else split
    return Evaluator(parts.config, model or parts.model, parts.views, {NAME: split}, CPU)


@pytest.fixture(scope="module")
def measured(parts):
    return evaluator(parts).measure(parts.split, details=True)[0]


def answers_of(parts):
    embeddings = evaluator(parts).embed(parts.split)
    return (embeddings["query"] @ embeddings["reference"].T).argmax(dim=1).numpy()


def test_errors_are_those_of_the_most_similar_tiles(parts, measured):
    apart = parts.split.references.coordinates[answers_of(parts)]
    errors = np.linalg.norm(apart - parts.split.queries.coordinates, axis=1)
    assert measured["median_metres"] == pytest.approx(np.median(errors), abs=1e-3)
    for limit in (5, 10, 25, 50):
        assert measured[f"below_{limit}_metres"] == pytest.approx(100 * np.mean(errors < limit), abs=1e-3)


@torch.no_grad()
def test_with_the_head_they_are_those_of_its_places(parts, measured):
    answers, split, model = answers_of(parts), parts.split, parts.model.eval()
    prepare = build_role_transforms(model, parts.views)
    errors = []
    for query, answer in enumerate(answers):
        images = split.queries.read(query), split.references.read(int(answer))
        pair = [prepare[role](image[None]) for role, image in zip(("query", "reference"), images)]
        ((down, right),) = model(*pair).extras["offset"].tolist()
        place = split.references.coordinates[answer] + 72 * np.array([right, -down])
        errors.append(np.linalg.norm(place - split.queries.coordinates[query]))
    assert measured["median_metres_with_offset"] == pytest.approx(np.median(errors), abs=1e-2)
    assert measured["median_metres_with_offset"] != measured["median_metres"]


def test_true_offsets_leave_no_error_at_the_true_tile(parts):
    queries, references = parts.split.pairs.T
    exact = measure_metres(parts.split, references, lambda: parts.split.offsets.of(queries, references))
    assert exact["median_metres_with_offset"] == pytest.approx(0, abs=1e-3) and exact["median_metres"] > 1
    assert exact["below_5_metres_with_offset"] == 100


def test_models_without_a_head_tell_the_errors_of_the_centres_alone(parts):
    plain = copy.copy(parts.model)
    plain.predicts_offset = False
    scores = evaluator(parts, plain).measure(parts.split, details=True)[0]
    assert "median_metres" in scores and "median_metres_with_offset" not in scores
    assert "median_metres" not in evaluator(parts).measure(parts.split)[0]


def test_the_table_has_a_column_for_each(measured):
    entry = {"kind": "same area", "last": measured, "best": None, "chance_recall_at_1": 1.0, "published": {}}
    other = {**entry, "last": {name: value for name, value in measured.items() if "metres" not in name}}
    head, _, first, second = table({"tests": {"a": entry, "b": other}}).splitlines()
    assert "median m" in head and "with offset" in head
    assert f"{measured['median_metres_with_offset']:,.1f}" in first and len(first) == len(second)
    assert "median m" not in table({"tests": {"b": other}})
