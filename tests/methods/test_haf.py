"""HAF: its pyramid against the released order of operations, its attention, and the released checkpoints.

Equality is made sure of by `embedding`, written from the description with functional operations on a state dict of the
authors' names, in their order: enlarge first, project then. Their own code with equal weights agreed to 7e-9 when this
was written.
"""

from __future__ import annotations

import pytest
import torch
from test_netvlad_method import CONVOLUTIONS, vgg_state, vlad
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.haf import PeakAttention, peaks
from geodtr_plugin.utils.errors import UserError

TINY = dict(backbone="tiny", query_size=(48, 64), pretrained=False, clusters=4, size="small")
BRANCHES = {"conv_1": (256, 15, 2), "conv_m": (512, 22, 4), "conv_h": (512, 29, 8)}  # channels, last layer, enlargement


def haf_state(width: int = 128) -> dict[str, torch.Tensor]:
    """base_model.{conv_1, conv_m, conv_h}.{0.I, 2}.{weight, bias}, the trunk three times, and net_vlad."""
    generator = torch.Generator().manual_seed(1)
    trunk, state = vgg_state("", generator), {}
    for branch, (channels, last, _) in BRANCHES.items():
        copies = {key: tensor.clone() for key, tensor in trunk.items() if int(key.split(".")[0]) <= last}
        state |= {f"base_model.{branch}.0.{key}": tensor for key, tensor in copies.items()}
        state[f"base_model.{branch}.2.weight"] = torch.randn(width, channels, 1, 1, generator=generator)
        state[f"base_model.{branch}.2.bias"] = torch.randn(width, generator=generator)
    state["net_vlad.conv.weight"] = 20 * torch.randn(64, 3 * width, 1, 1, generator=generator)
    state["net_vlad.centroids"] = torch.rand(64, 3 * width, generator=generator) / 20
    return state


def embedding(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    maps = []
    for branch, (_, last, factor) in BRANCHES.items():
        x, prefix = images, f"base_model.{branch}"
        for i in (i for i in CONVOLUTIONS if i <= last):
            x = F.relu(F.conv2d(x, state[f"{prefix}.0.{i}.weight"], state[f"{prefix}.0.{i}.bias"], padding=1))
            if i in (2, 7, 14, 21, 28):
                x = F.max_pool2d(x, 2)
        x = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        maps.insert(0, F.conv2d(x, state[f"{prefix}.2.weight"], state[f"{prefix}.2.bias"]))
    return vlad(torch.cat(maps, 1), state)


@pytest.fixture(scope="module")
def state():
    return haf_state()


@torch.no_grad()
def test_embeddings_agree_with_the_released_order_of_operations(state):
    model = create_model("haf", query_size=(64, 96), pretrained=False).eval()
    load_author_weights(model, {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}})
    ours = model.state_dict()
    assert all(torch.equal(ours[key], state[model.author_key(key)]) for key in ours)
    images = 50 * torch.randn(2, 3, 64, 96)
    expected = embedding(state, images)
    assert (model.encode_query(images) - expected).abs().max() < 1e-6
    assert (expected[0] - expected[1]).abs().max() > 1e-4  # the images matter


def test_the_copies_of_the_trunk_must_agree(state):
    model = create_model("haf", query_size=(64, 96), pretrained=False)
    broken = state | {"base_model.conv_m.0.5.bias": torch.zeros(128)}
    with pytest.raises(UserError, match="conv_m.0.5.bias differs from base_model.conv_h.0.5.bias"):
        load_author_weights(model, broken)
    with pytest.raises(UserError, match="Missing: base_model.conv_1.2.bias"):
        load_author_weights(model, {k: v for k, v in state.items() if k != "base_model.conv_1.2.bias"})
    with pytest.raises(UserError, match="Not known to the model: net_vlad.extra"):
        load_author_weights(model, state | {"net_vlad.extra": torch.zeros(1)})


@pytest.mark.parametrize(
    "options, channels, trained",
    [
        (dict(size="small"), 192, 64 * (256 + 512 + 512 + 3)),
        (dict(), 384, 128 * (256 + 512 + 512 + 3)),
        (dict(size="large"), 1152, 384 * 257 + 256 * 513 + 512 * 513),
        (dict(size="large", variant="paper"), 1152, 384 * 257 + 512 * 513 + 256 * 513 + 3),
    ],
)
def test_sizes_and_what_is_trained(options, channels, trained):
    with torch.device("meta"):
        model = create_model("haf", pretrained=False, **options)
    assert model.embedding_size == 64 * channels
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained + 2 * 64 * channels
    assert sum(p.numel() for p in model.tower.trunk.parameters()) == 14_714_688
    assert not any(p.requires_grad for p in model.tower.trunk.parameters())


@pytest.mark.parametrize("variant, stride", [("code", 4), ("paper", 2)])
def test_the_grid_has_twice_the_resolution_of_the_finest_map(variant, stride):
    model = create_model("haf", variant=variant, size="small", query_size=(64, 96), pretrained=False)
    features, weights = model.tower.local(torch.randn(1, 3, 64, 96))
    assert features.shape == (1, 192, 64 // stride, 96 // stride)
    assert (weights is None) == (variant == "code")
    assert weights is None or weights.shape == (1, 1, 64 // stride, 96 // stride)


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize("size", [(48, 64), (45, 83)])  # the second is divisible by nothing
def test_unit_vectors_of_one_tower_with_gradients_everywhere(variant, size):
    model = create_model("haf", **{**TINY, "query_size": size}, variant=variant)
    assert model.query_tower is model.reference_tower
    outputs = model(torch.randn(2, 3, *size), torch.randn(2, 3, *size))
    assert outputs.query.shape == (2, 4 * 192)
    torch.testing.assert_close(outputs.query.norm(dim=1), torch.ones(2))
    (outputs.query @ outputs.reference.T).diagonal().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert all(p.grad.abs().sum() > 0 for name, p in model.named_parameters() if "attention" in name)


def test_attention_is_on_peaks_and_its_weights_start_equal():
    features = torch.zeros(1, 8, 9, 9)
    features[0, 3, 4, 5] = 2.0
    mask = peaks(features)
    assert mask.shape == (1, 1, 9, 9) and mask.flatten().argmax() == 4 * 9 + 5
    torch.testing.assert_close(peaks(10 * features), mask)  # brightness does not matter
    maps = [torch.randn(2, 8, 4, 4), torch.randn(2, 6, 2, 2)]
    for weighted, level in zip(PeakAttention(2)(maps), maps):
        torch.testing.assert_close(weighted, peaks(level) / 2)
        torch.testing.assert_close(weighted[:1], PeakAttention(2)([level[:1]] * 2)[0])  # each image by itself


def test_clusters_start_from_images():
    model = create_model("haf", **TINY)
    model.before_training(lambda describe, count: describe(torch.randn(3, 3, 48, 64)))
    lengths = model.tower.vlad.assign.weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand(4))


def test_what_cannot_be_built_is_answered_with_a_sentence():
    for options, message in (
        (dict(polar=True), "--no-polar"),
        (dict(variant="figure"), "variant is 'figure'; it must be one of code, paper"),
        (dict(size="huge"), "size is 'huge'; it must be one of small, middle, large"),
        (dict(backbone="resnet34"), "vgg16 or tiny"),
        (dict(query_size=(31, 640)), "31x640 pixels are too small"),
    ):
        with pytest.raises(UserError, match=message):
            create_model("haf", pretrained=False, **options)


def test_recipes_build_and_the_reading_of_the_figure_is_named_so():
    cls = METHODS["haf"]
    for recipe in cls.recipes.values():
        with torch.device("meta"):
            assert create_model("haf", **{**recipe.model, "pretrained": False}).embedding_size > 0
    assert "our reading" in PeakAttention.__doc__ and "as we read it" in cls.__doc__
