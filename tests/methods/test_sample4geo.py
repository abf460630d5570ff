"""Sample4Geo: sizes, one network for both views, the authors' files.

`authors_embedding` computes the embedding from a state dict of theirs with functional operations alone. The whole model
of the paper was also run beside the authors' own class with equal random weights, on 140 x 768 and 384 x 384 images:
the embeddings were equal to the last bit, the losses up to 3e-7.
"""

from __future__ import annotations

import math

import pytest
import timm
import torch
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.layers import timm_models
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UnknownNameError, UserError

TINY = dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False)
SMALL = dict(query_size=(32, 96), reference_size=(64, 64), backbone="convnext_tiny", pretrained=False)
DEPTHS = {"base": (3, 3, 27, 3), "tiny": (3, 3, 9, 3)}
WIDTHS = {"base": (128, 256, 512, 1024), "tiny": (96, 192, 384, 768)}


def authors_shapes(size: str) -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the authors' checkpoints."""
    widths = WIDTHS[size]
    shapes = {"logit_scale": (), "model.stem.0.weight": (widths[0], 3, 4, 4), "model.stem.0.bias": (widths[0],)}
    norms = {"model.stem.1": widths[0], "model.head.norm": widths[-1]}
    for stage, (depth, width) in enumerate(zip(DEPTHS[size], widths)):
        prefix, before = f"model.stages.{stage}", widths[stage - 1]
        if stage:
            norms[f"{prefix}.downsample.0"] = before
            shapes[f"{prefix}.downsample.1.weight"] = (width, before, 2, 2)
            shapes[f"{prefix}.downsample.1.bias"] = (width,)
        for block in (f"{prefix}.blocks.{number}" for number in range(depth)):
            norms[f"{block}.norm"] = width
            shapes |= {
                f"{block}.gamma": (width,), f"{block}.conv_dw.weight": (width, 1, 7, 7),
                f"{block}.conv_dw.bias": (width,), f"{block}.mlp.fc1.weight": (4 * width, width),
                f"{block}.mlp.fc1.bias": (4 * width,), f"{block}.mlp.fc2.weight": (width, 4 * width),
                f"{block}.mlp.fc2.bias": (width,),
            }  # fmt: skip
    return shapes | {f"{name}.{kind}": (width,) for name, width in norms.items() for kind in ("weight", "bias")}


def draw(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    tensor = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return tensor / math.sqrt(math.prod(shape[1:]))
    return 0.1 * tensor + (1 if key.endswith("weight") or key.endswith("gamma") else 0)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {key: draw(key, shape, generator) for key, shape in authors_shapes("tiny").items()}


@pytest.fixture(scope="module")
def model():
    return create_model("sample4geo", **SMALL).eval()


def authors_embedding(w: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """[B, 3, H, W] -> [B, D]: ConvNeXt-T, mean over positions, layer norm, unit length."""
    w = {key.removeprefix("model."): tensor for key, tensor in w.items()}

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def conv(x, name, **options):
        return F.conv2d(x.permute(0, 3, 1, 2), w[f"{name}.weight"], w[f"{name}.bias"], **options).permute(0, 2, 3, 1)

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = norm(conv(images.permute(0, 2, 3, 1), "stem.0", stride=4), "stem.1")
    for stage, depth in enumerate(DEPTHS["tiny"]):
        prefix = f"stages.{stage}"
        if stage:
            x = conv(norm(x, f"{prefix}.downsample.0"), f"{prefix}.downsample.1", stride=2)
        for block in (f"{prefix}.blocks.{number}" for number in range(depth)):
            y = norm(conv(x, f"{block}.conv_dw", padding=3, groups=x.shape[-1]), f"{block}.norm")
            x = x + w[f"{block}.gamma"] * linear(F.gelu(linear(y, f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
    pooled = norm(x.mean((1, 2)), "head.norm")
    return pooled / pooled.norm(dim=1, keepdim=True)


def test_sizes_equal_the_authors():
    with torch.device("meta"):
        model = create_model("sample4geo", pretrained=False)
    assert sum(p.numel() for p in model.parameters()) == 87_566_464  # and one more in the loss
    assert (model.query_size, model.reference_size, model.embedding_size) == ((140, 768), (384, 384), 1024)
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    expected = authors_shapes("base")
    expected.pop("logit_scale")
    assert {model.author_key(key): shape for key, shape in shapes.items()} == expected


@torch.no_grad()
def test_embeddings_agree_with_the_description_of_the_method(model, state):
    load_author_weights(model, state)
    query, reference = torch.randn(2, 3, 32, 96), torch.randn(2, 3, 64, 64)
    outputs = model(query, reference)
    assert (outputs.query - authors_embedding(state, query)).abs().max() < 1e-5
    assert (outputs.reference - authors_embedding(state, reference)).abs().max() < 1e-5
    assert (outputs.query[0] - outputs.query[1]).abs().max() > 1e-3  # the images matter


def test_every_tensor_of_the_authors_is_used(model, state):
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    load_author_weights(model, {"module." + key: tensor for key, tensor in state.items()})
    ours = model.state_dict()
    assert len(ours) == len(state) - 1  # the logit scale belongs to our loss
    assert all(torch.equal(ours[key], state[model.author_key(key)]) for key in ours)


def test_missing_and_unknown_tensors_are_named(model, state):
    missing = {key: tensor for key, tensor in state.items() if key != "model.head.norm.bias"}
    with pytest.raises(UserError, match="Missing: model.head.norm.bias. Not known to the model: none"):
        load_author_weights(model, missing)
    with pytest.raises(UserError, match="Not known to the model: model.head.fc.weight"):
        load_author_weights(model, state | {"model.head.fc.weight": torch.zeros(1)})


def test_both_views_go_through_one_network():
    model = create_model("sample4geo", **TINY)
    assert model.query_tower is model.reference_tower
    assert all(key.startswith("tower.trunk.") for key in model.state_dict())
    square = create_model("sample4geo", **TINY | dict(query_size=(64, 64))).eval()
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(square.encode_query(images), square.encode_reference(images))


def test_unit_vectors_gradients_and_precision():
    model = create_model("sample4geo", **TINY)
    query, reference = torch.rand(3, 3, 32, 88), torch.rand(3, 3, 64, 64)
    outputs = model(query, reference)
    for embedding in outputs[:2]:
        assert embedding.shape == (3, model.embedding_size)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    (outputs.query[:, 0].sum() + outputs.reference[:, 0].sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        low = model.eval().encode_query(query)
    assert low.dtype == torch.float32 and (low * model.encode_query(query)).sum(1).min() > 0.99


@pytest.mark.parametrize("name", METHODS["sample4geo"].recipes)
def test_every_recipe_builds(name):
    recipe = METHODS["sample4geo"].recipes[name]
    with torch.device("meta"):
        model = create_model("sample4geo", **{**recipe.model, "pretrained": False})
    assert not model.polar and recipe.loss.name == "info_nce" and recipe.augment.chsg == "ls"


def test_the_tiny_network_keeps_no_statistics_of_batches():
    model = create_model("sample4geo", **TINY)
    assert not list(model.buffers())
    images = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(model.train().encode_reference(images)[:1], model.eval().encode_reference(images[:1]))


def test_sizes_that_go_with_a_panorama():
    tiny = dict(backbone="tiny", pretrained=False)
    assert create_model("sample4geo", query_size=(384, 768), **tiny).reference_size == (384, 384)
    assert create_model("sample4geo", query_size=(32, 88), polar=True, **tiny).reference_size == (32, 88)


def test_other_networks_bring_their_own_normalisation():
    model = create_model("sample4geo", **SMALL | dict(backbone="timm/mobilenetv3_small_050.lamb_in1k"))
    assert model.embedding_size == 1024
    inception = create_model("sample4geo", **SMALL | dict(backbone="tf_efficientnet_lite0.in1k"))
    assert inception.mean == timm.get_pretrained_cfg("tf_efficientnet_lite0.in1k").mean == (0.5, 0.5, 0.5)


def test_what_cannot_work_is_said(monkeypatch):
    with pytest.raises(UnknownNameError, match="Did you mean 'convnext_base"):
        create_model("sample4geo", backbone="convnext_bas")
    with pytest.raises(UserError, match="vit_tiny_patch16_224 does not make one vector of images of"):
        create_model("sample4geo", **SMALL | dict(backbone="vit_tiny_patch16_224"))
    with pytest.raises(UserError, match="could not be loaded.*pretrained false"):
        timm_models.timm_model("convnext_atto.d2_in1k", pretrained=True)  # the suite has no network
