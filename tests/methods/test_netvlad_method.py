"""NetVLAD as a method: sizes, one tower, first clusters, whitening, and OpenIBL's checkpoints.

Equality with OpenIBL is made sure of by `embedding`, written from the description with functional operations on a state
dict of OpenIBL's names. Their own code with equal weights agreed to 4e-9 when this was written.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UserError

TINY = dict(backbone="tiny", query_size=(48, 64), pretrained=False, clusters=4)
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
POOLS = (2, 7, 14, 21)  # numbers of the convolutions with a pooling behind them


def vgg_state(prefix: str, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """VGG16's convolutions with random content that keeps the signal's size."""
    state, inputs = {}, 3
    for i, width in zip(CONVOLUTIONS, WIDTHS):
        weight = torch.randn(width, inputs, 3, 3, generator=generator) * math.sqrt(2 / (9 * inputs))
        state |= {f"{prefix}{i}.weight": weight, f"{prefix}{i}.bias": 0.1 * torch.randn(width, generator=generator)}
        inputs = width
    return state


def openibl_state() -> dict[str, torch.Tensor]:
    """OpenIBL's checkpoint without whitening: base_model.base.I.{weight, bias}, net_vlad.{conv.weight, centroids}."""
    generator = torch.Generator().manual_seed(1)
    vlad = {
        "net_vlad.conv.weight": 20 * torch.randn(64, 512, 1, 1, generator=generator),
        "net_vlad.centroids": torch.rand(64, 512, generator=generator) / 20,
    }
    return vgg_state("base_model.base.", generator) | vlad


def vlad(x: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """Local descriptors [B, D, h, w] -> [B, 64 * D], one residual after another."""
    x = F.normalize(x, dim=1)
    shares = F.conv2d(x, state["net_vlad.conv.weight"]).softmax(1)
    rows = []
    for k, centre in enumerate(state["net_vlad.centroids"]):
        rows.append(((x - centre[None, :, None, None]) * shares[:, k : k + 1]).sum((2, 3)))
    return F.normalize(F.normalize(torch.stack(rows, 1), dim=2).flatten(1), dim=1)


def embedding(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    x = images
    for i in CONVOLUTIONS:
        x = F.conv2d(x, state[f"base_model.base.{i}.weight"], state[f"base_model.base.{i}.bias"], padding=1)
        if i != CONVOLUTIONS[-1]:  # the last convolution has no rectifier
            x = F.relu(x)
        if i in POOLS:
            x = F.max_pool2d(x, 2)
    return vlad(x, state)


@pytest.fixture(scope="module")
def state():
    return openibl_state()


@torch.no_grad()
def test_embeddings_agree_with_the_description_of_the_method(state):
    model = create_model("netvlad", query_size=(32, 48), pretrained=False).eval()
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}
    load_author_weights(model, wrapped)
    ours = model.state_dict()
    assert len(ours) == len(state) and all(torch.equal(ours[key], state[model.author_key(key)]) for key in ours)
    images = 50 * torch.randn(2, 3, 32, 48)
    expected = embedding(state, images)
    assert (model.encode_query(images) - expected).abs().max() < 1e-6
    assert (expected[0] - expected[1]).abs().max() > 1e-4  # the images matter


def test_sizes_and_what_is_trained():
    with torch.device("meta"):
        model = create_model("netvlad", pretrained=False)
    assert model.embedding_size == 64 * 512 and model.query_size == model.reference_size == (480, 640)
    assert sum(p.numel() for p in model.parameters()) == 14_714_688 + 2 * 64 * 512
    trained = sorted(name for name, p in model.named_parameters() if p.requires_grad)
    assert trained == sorted(
        ["tower.vlad.assign.weight", "tower.vlad.centroids"]
        + [f"tower.trunk.{i}.{kind}" for i in (24, 26, 28) for kind in ("weight", "bias")]
    )
    assert model.mean[0] == pytest.approx(123.68 / 255) and model.std == (1 / 255,) * 3
    with torch.device("meta"):
        free = create_model("netvlad", pretrained=False, freeze=False)
    assert all(p.requires_grad for p in free.parameters())


def test_one_tower_sees_both_views():
    model = create_model("netvlad", **TINY, reference_size=(40, 56)).eval()
    assert model.query_tower is model.reference_tower
    assert all(key.startswith("tower.") for key in model.state_dict())
    query, reference = torch.rand(2, 3, 48, 64), torch.rand(2, 3, 40, 56)
    outputs = model(query, reference)
    assert outputs.query.shape == (2, model.embedding_size) == outputs.reference.shape
    torch.testing.assert_close(outputs.query.norm(dim=1), torch.ones(2))
    assert torch.equal(model.encode_reference(query), model.encode_query(query))


def described(*batches: torch.Tensor):
    """Training images as methods get them: a function of a batch, and how many images are wanted, to its results."""
    return lambda function, count: torch.cat([function(batch).detach() for batch in batches])


def test_clusters_start_from_images():
    model = create_model("netvlad", **TINY)
    before = model.tower.vlad.centroids.clone()
    model.before_training(described(torch.randn(3, 3, 48, 64), torch.randn(2, 3, 48, 64)))
    lengths = model.tower.vlad.assign.weight.flatten(1).norm(dim=1)
    assert not torch.equal(model.tower.vlad.centroids, before)
    torch.testing.assert_close(lengths, lengths[:1].expand(4))


def test_whitening_shortens_the_embedding_once_it_is_fitted():
    model = create_model("netvlad", **TINY, pca=5)
    assert model.embedding_size == 4 * 96
    images = torch.randn(12, 3, 48, 64)
    assert model.after_training(described(*images.split(4))) and model.embedding_size == 5
    out = model.eval().encode_query(images)
    assert out.shape == (12, 5)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(12))
    other = create_model("netvlad", **TINY, pca=5).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.encode_query(images), out)
    assert not create_model("netvlad", **TINY).after_training(described(images)), "nothing to learn"


@torch.no_grad()
def test_checkpoints_with_whitening_are_read_too(state):
    """The hub model of OpenIBL: pca_layer is a 1 x 1 convolution."""
    pca = {"pca_layer.weight": torch.randn(7, 32768, 1, 1), "pca_layer.bias": torch.randn(7)}
    model = create_model("netvlad", query_size=(32, 48), pretrained=False, pca=7).eval()
    load_author_weights(model, state)  # without whitening, which waits for its own file
    assert model.embedding_size == 32768
    load_author_weights(model, state | pca)
    images = 50 * torch.randn(2, 3, 32, 48)
    expected = F.linear(embedding(state, images), pca["pca_layer.weight"].flatten(1), pca["pca_layer.bias"])
    torch.testing.assert_close(model.encode_query(images), F.normalize(expected, dim=1), rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="PCA to 7 dimensions.*--model.pca 7"):
        load_author_weights(create_model("netvlad", query_size=(32, 48), pretrained=False), state | pca)


def test_missing_and_extra_tensors_are_named(state):
    model = create_model("netvlad", query_size=(32, 48), pretrained=False)
    with pytest.raises(UserError, match="Missing: net_vlad.centroids"):
        load_author_weights(model, {k: v for k, v in state.items() if k != "net_vlad.centroids"})
    with pytest.raises(UserError, match="Not known to the model: net_vlad.extra"):
        load_author_weights(model, state | {"net_vlad.extra": torch.zeros(1)})


def test_what_cannot_be_built_is_answered_with_a_sentence():
    with pytest.raises(UserError, match="--no-polar"):
        create_model("netvlad", **TINY, polar=True)
    with pytest.raises(UserError, match="8x640 pixels are too small for the trunk"):
        create_model("netvlad", query_size=(8, 640), pretrained=False)


def test_recipes_build_and_published_numbers_have_names():
    cls = METHODS["netvlad"]
    for recipe in cls.recipes.values():
        with torch.device("meta"):
            model = create_model("netvlad", **{**recipe.model, "pretrained": False})
        assert not model.polar and model.embedding_size > 0
    assert cls.paper.published["pitts30k", "pitts250k", False]["recall_at_1"] == 85.95
