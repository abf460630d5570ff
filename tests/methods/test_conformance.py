"""What every method of the package must do, whatever it is: the settings are those of its laptop recipe."""

from __future__ import annotations

import inspect
import json
import math
import re

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from geodtr_plugin import create_model, recall
from geodtr_plugin.augmentations import COLOURS
from geodtr_plugin.methods import METHODS, Recipe, list_methods
from geodtr_plugin.methods.base import Embeddings, Paper, TwoTower
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.roles import ROLES

# when this file is collected, other tests have registered no methods of their own, which promise nothing
NAMES = list_methods()
RECIPES = {"paper", "paper_offset", "laptop", "laptop_offset"}
PAIRS = 16
ROUNDS, STEPS = 16, 5  # measured after every round of steps, at most so many rounds; 1 to 7 are usual
pytestmark = pytest.mark.parametrize("name", NAMES)

_models: dict[str, TwoTower] = {}


def build(name: str, **options) -> TwoTower:
    torch.manual_seed(0)
    return create_model(name, **METHODS[name].recipes["laptop"].model | options)


@pytest.fixture
def model(name):
    """The method's model in evaluation mode, built once for all tests that leave it as it is."""
    if name not in _models:
        _models[name] = build(name).eval()
    return _models[name]


def images(model: TwoTower, count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = {role: torch.randn(count, *model.input_shape(role), generator=generator) for role in ROLES}
    for role, x in batch.items():
        if (maps := model.input_maps(role)) is not None:
            x[:, COLOURS:] = maps
    return batch


def pairs(model: TwoTower, count: int) -> dict[str, torch.Tensor]:
    """Noisy images of smooth random colours; what the two of a pair share is a pattern of low frequency."""
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(count, COLOURS, 2, 4, generator=generator)
    paired = images(model, count, seed=2)
    for x in paired.values():
        x[:, :COLOURS] = F.interpolate(shared, x.shape[2:], mode="bilinear") + 0.1 * x[:, :COLOURS]
    return paired


def test_it_is_registered_under_the_name_of_its_file(name):
    assert METHODS[name].__module__ == f"geodtr_plugin.methods.{name}"
    assert issubclass(METHODS[name], TwoTower)
    assert METHODS[name].method_name == name


def test_facts_are_complete(name):
    facts = METHODS[name].paper
    assert isinstance(facts, Paper)
    assert all((facts.title, facts.venue, facts.url, facts.code, facts.licence))
    for (train, test, polar), row in facts.published.items():
        assert isinstance(train, str) and isinstance(test, str) and isinstance(polar, bool)
        assert row and all(0 <= value <= 100 for value in row.values())
        if {"recall_at_1", "recall_at_5", "recall_at_10"} <= set(row):  # a slip of the pen breaks the order
            assert row["recall_at_1"] <= row["recall_at_5"] <= row["recall_at_10"]


def test_recipes_are_there_and_survive_a_file(name):
    cls = METHODS[name]
    options = set(inspect.signature(cls).parameters)
    assert RECIPES <= set(cls.recipes)
    for recipe_name, recipe in cls.recipes.items():
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
        assert set(recipe.model) <= options, f"recipe {recipe_name}"
        assert recipe.next_stage is None or recipe.next_stage in cls.recipes
        assert cls.has_counterfactual or recipe.loss.counterfactual == 0


def test_offset_recipes_do_not_unroll_images_around_a_centre_where_no_camera_stands(name):
    cls = METHODS[name]
    default = inspect.signature(cls).parameters["polar"].default
    for recipe in ("paper_offset", "laptop_offset"):
        assert not cls.recipes[recipe].model.get("polar", default), recipe


def test_the_offset_recipe_builds_a_working_model(name):
    recipe = METHODS[name].recipes["laptop_offset"]
    model = create_model(name, **recipe.model).eval()
    with torch.no_grad():
        query, reference, *_ = model(**images(model, 2))
    assert query.shape == reference.shape == (2, model.embedding_size)


def test_numbers_out_of_their_range_are_refused(name):
    options = METHODS[name].recipes["laptop"].model
    for option, parameter in inspect.signature(METHODS[name]).parameters.items():
        kind = parameter.annotation.removesuffix(" | None")
        wrong = {
            "int": (-1, 0, 0.5, 1e21, math.nan, True), "float": (-1, math.nan, math.inf, "much"),
            "tuple[int, int]": (0, 5, "xy", (8,), (0, 64), (8.5, 64)),
        }.get(kind, ())  # fmt: skip
        zero_means_none = kind == "int" and METHODS[name].option_ranges.get(option, (1, 1))[0] == 0
        for value in wrong:
            if value == 0 and zero_means_none:
                continue
            with pytest.raises(UserError, match="^" + re.escape(f"{option} is {value!r}")):
                create_model(name, **options | {option: value})


@torch.no_grad()
def test_embeddings_are_unit_vectors_of_the_declared_size(name, model):
    batch = images(model, 3)
    outputs = model(**batch)
    assert isinstance(outputs, Embeddings)
    for embedding in (outputs.query, outputs.reference):
        assert embedding.shape == (3, model.embedding_size) and embedding.dtype == torch.float32
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
        assert (embedding[0] - embedding[1]).abs().max() > 1e-5, "images do not matter"
    torch.testing.assert_close(model.encode_query(batch["query"]), outputs.query)
    torch.testing.assert_close(model.encode_reference(batch["reference"]), outputs.reference)
    assert model(query=batch["query"]).reference is None


@torch.no_grad()
def test_an_embedding_does_not_depend_on_the_rest_of_the_batch(name, model):
    batch = images(model, 3)
    together = model(**batch)
    alone = model(**{role: rows[1:2] for role, rows in batch.items()})
    torch.testing.assert_close(alone.query, together.query[1:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.reference, together.reference[1:2], atol=1e-5, rtol=0)


@torch.no_grad()
def test_counterfactuals_come_where_they_are_declared_and_only_there(name, model):
    batch = images(model, 2)
    plain = model(**batch)
    assert plain.query_cf is None and plain.reference_cf is None
    if not model.has_counterfactual:
        with pytest.raises(TypeError):
            model(**batch, counterfactual=True)
        return
    outputs = model(**batch, counterfactual=True)
    torch.testing.assert_close(outputs.query, plain.query)
    for embedding, counterfactual in ((outputs.query, outputs.query_cf), (outputs.reference, outputs.reference_cf)):
        assert counterfactual.shape == embedding.shape
        torch.testing.assert_close(counterfactual.norm(dim=1), torch.ones(2))
        assert (counterfactual - embedding).abs().max() > 1e-3


@torch.no_grad()
def test_sizes_that_divide_by_nothing_work_or_are_refused(name):
    polar = build(name).polar
    try:
        model = build(name, query_size=(33, 89), reference_size=(33, 89) if polar else (65, 65)).eval()
    except UserError as error:
        assert len(str(error).split()) > 8, "not a sentence"
        return
    query, reference, *_ = model(**images(model, 2))
    assert query.shape == reference.shape == (2, model.embedding_size)
    torch.testing.assert_close(query.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(reference.norm(dim=1), torch.ones(2))


def test_every_parameter_that_learns_gets_a_gradient(name):
    model = build(name).train()
    outputs = model(**images(model, 4), **({"counterfactual": True} if model.has_counterfactual else {}))
    direction = torch.randn(4, model.embedding_size)
    embeddings, heads = (part for part in outputs[:4] if part is not None), (outputs.extras or {}).values()
    (sum((embedding * direction).sum() for embedding in embeddings) + sum(head.sum() for head in heads)).backward()
    step, own = model.own_step(), []
    if step is not None:  # what its step trains beside the towers; every parameter is in one part
        own = [id(p) for part in step.parts().values() for p in part]
        assert sorted(own) == sorted(map(id, model.parameters()))
        own = set(own) - {id(p) for tower in (model.query_tower, model.reference_tower) for p in tower.parameters()}
    learning = ((key, p) for key, p in model.named_parameters() if p.requires_grad and id(p) not in own)
    without = [key for key, p in learning if p.grad is None]
    assert not without, "take requires_grad from what never learns; under DDP it would stop the training"
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    for tower in (model.query_tower, model.reference_tower):
        assert any(p.grad is not None and p.grad.any() for p in tower.trunk.parameters())


@torch.no_grad()
def test_weights_go_through_a_file(name, model, tmp_path):
    save_file(model.state_dict(), tmp_path / "weights.safetensors")  # refuses a tensor under two names
    torch.manual_seed(1)
    fresh = create_model(**json.loads(json.dumps(model.config))).eval()
    batch = images(model, 2)
    assert not torch.allclose(fresh.encode_query(batch["query"]), model.encode_query(batch["query"]), atol=1e-4)
    load_weights(fresh, tmp_path / "weights.safetensors")
    assert set(fresh.state_dict()) == set(model.state_dict())
    for role in ("query", "reference"):
        embed = f"encode_{role}"
        torch.testing.assert_close(getattr(fresh, embed)(batch[role]), getattr(model, embed)(batch[role]))


@torch.no_grad()
def test_bfloat16_autocast_is_finite_and_near(name, model):
    batch = pairs(model, 3)
    full = model(**batch)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(**batch)
    for one, other in ((full.query, low.query), (full.reference, low.reference)):
        assert other.dtype == torch.float32 and other.isfinite().all()
        assert (one * other).sum(1).min() > 0.99


@pytest.mark.slow
def test_it_learns_pairs_by_heart(name):
    """Some steps on one batch, with a loss and an optimizer that are nobody's; then every query finds its reference."""
    model = build(name)
    batch, right = pairs(model, PAIRS), torch.arange(PAIRS)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    reached = []
    while len(reached) < ROUNDS and 1 not in reached:
        model.train()
        for _ in range(STEPS):
            query, reference, *_ = model(**batch)
            similarity = 20 * query @ reference.T
            optimizer.zero_grad()
            (F.cross_entropy(similarity, right) + F.cross_entropy(similarity.T, right)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        with torch.no_grad():
            reached.append(recall(*model.eval()(**batch)[:2], interval=False)["recall_at_1"])
    assert reached[-1] == 1, f"R@1 on the pairs it trains on, after every {STEPS} steps: {reached}"
