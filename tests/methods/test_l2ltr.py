"""L2LTR: sizes, the authors' files, Google's weights.

`authors_embedding` computes the embedding from a state dict of the authors' layout with functional operations alone,
for a narrow Transformer behind the whole stem. The model of the paper was also run beside the authors' own class with
equal random weights, on 128 x 512 (both views) and 256 x 256 images: embeddings differed by at most 4.3e-7.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import timm
import torch
from scipy import ndimage
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import METHODS, l2ltr
from geodtr_plugin.methods.l2ltr import HYBRID, stretch
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), backbone="tiny", pretrained=False)
NARROW = dict(width=48, depth=3, heads=4, pretrained=False, polar=False)
SMALL = dict(query_size=(32, 128), reference_size=(64, 64), **NARROW)
UNITS, CHANNELS = (3, 4, 9), (256, 512, 1024)


def tower_shapes(width: int, depth: int, positions: int) -> dict[str, tuple[int, ...]]:
    """Key names and shapes of one view in the authors' checkpoints."""
    stem, shapes = "transformer.embeddings.hybrid_model", {}
    norms = {f"{stem}.root.gn": 64, "transformer.encoder.encoder_norm": width}
    shapes[f"{stem}.root.conv.weight"] = (64, 3, 7, 7)
    before = 64
    for block, (units, channels) in enumerate(zip(UNITS, CHANNELS), 1):
        for unit in range(1, units + 1):
            name, inner = f"{stem}.body.block{block}.unit{unit}", channels // 4
            sizes = ((inner, before, 1, 1), (inner, inner, 3, 3), (channels, inner, 1, 1))
            shapes |= {f"{name}.conv{i}.weight": size for i, size in enumerate(sizes, 1)}
            norms |= {f"{name}.gn{i}": size[0] for i, size in enumerate(sizes, 1)}
            if unit == 1:
                shapes[f"{name}.downsample.weight"], norms[f"{name}.gn_proj"] = (channels, before, 1, 1), channels
            before = channels
    linear = {"transformer.embeddings.patch_embeddings": (width, 1024, 1, 1)}
    for name in (f"transformer.encoder.layer.{number}" for number in range(depth)):
        norms |= {f"{name}.{norm}": width for norm in ("attention_norm_1", "attention_norm_2", "ffn_norm")}
        linear |= {f"{name}.attn.{part}": (width, width) for part in ("query", "key", "value", "out")}
        linear |= {f"{name}.ffn.fc1": (4 * width, width), f"{name}.ffn.fc2": (width, 4 * width)}
    for name, shape in (linear | {name: (size,) for name, size in norms.items()}).items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    shapes["transformer.embeddings.position_embeddings"] = (1, positions + 1, width)
    return shapes | {"transformer.embeddings.cls_token": (1, 1, width)}


def draw(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    tensor = torch.randn(shape, generator=generator)
    if "embeddings.position" in key or "cls_token" in key:
        return 0.3 * tensor
    if len(shape) > 1:
        return tensor / math.sqrt(math.prod(shape[1:]))
    return 0.1 * tensor + (1 if key.endswith("weight") else 0)


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, dict[str, torch.Tensor]]:
    """A file of theirs, of a narrow model, with random content."""
    generator = torch.Generator().manual_seed(1)
    shapes = {"model_grd": tower_shapes(48, 3, 2 * 8), "model_sat": tower_shapes(48, 3, 4 * 4)}
    towers = {view: {key: draw(key, shape, generator) for key, shape in own.items()} for view, own in shapes.items()}
    return towers | {"optimizer": {"state": {}, "param_groups": []}}


@pytest.fixture(scope="module")
def model():
    return create_model("l2ltr", **SMALL).eval()


def authors_embedding(w: dict[str, torch.Tensor], images: torch.Tensor, heads: int = 4) -> torch.Tensor:
    """[B, 3, H, W] -> [B, width] by the description of the method."""
    stem, encoder = "transformer.embeddings.hybrid_model", "transformer.encoder"

    def conv(x, name, stride=1):
        weight = w[f"{name}.weight"]
        flat = weight.flatten(1)
        centred = flat - flat.mean(1, keepdim=True)
        weight = (centred / (flat.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()).view_as(weight)
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)

    def group_norm(x, name, groups=32, eps=1e-6):
        return F.group_norm(x, groups, w[f"{name}.weight"], w[f"{name}.bias"], eps)

    x = F.max_pool2d(F.relu(group_norm(conv(images, f"{stem}.root.conv", 2), f"{stem}.root.gn")), 3, 2, 1)
    for block, units in enumerate(UNITS, 1):
        for unit in range(1, units + 1):
            name, stride = f"{stem}.body.block{block}.unit{unit}", 2 if unit == 1 and block > 1 else 1
            y = F.relu(group_norm(conv(x, f"{name}.conv1"), f"{name}.gn1"))
            y = F.relu(group_norm(conv(y, f"{name}.conv2", stride), f"{name}.gn2"))
            y = group_norm(conv(y, f"{name}.conv3"), f"{name}.gn3")
            if unit == 1:  # every channel of a shortcut is a group of its own
                x = group_norm(conv(x, f"{name}.downsample", stride), f"{name}.gn_proj", y.shape[1], 1e-5)
            x = F.relu(x + y)

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"].flatten(1), w[f"{name}.bias"])

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    tokens = linear(x.flatten(2).transpose(1, 2), "transformer.embeddings.patch_embeddings")
    tokens = torch.cat([w["transformer.embeddings.cls_token"].expand(len(x), -1, -1), tokens], 1)
    tokens = tokens + w["transformer.embeddings.position_embeddings"]
    previous = tokens
    for number in range(3):
        name = f"{encoder}.layer.{number}"
        own, other = norm(tokens, f"{name}.attention_norm_1"), norm(previous, f"{name}.attention_norm_2")
        split = lambda x: x.unflatten(-1, (heads, -1)).transpose(1, 2)  # noqa: E731
        query, value = split(linear(own, f"{name}.attn.query")), split(linear(own, f"{name}.attn.value"))
        key = split(linear(other, f"{name}.attn.key"))
        attention = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)
        previous = tokens
        tokens = tokens + linear((attention @ value).transpose(1, 2).flatten(2), f"{name}.attn.out")
        hidden = F.gelu(linear(norm(tokens, f"{name}.ffn_norm"), f"{name}.ffn.fc1"))
        tokens = tokens + linear(hidden, f"{name}.ffn.fc2")
    embedding = norm(tokens, f"{encoder}.encoder_norm")[:, 0]
    return embedding / embedding.norm(dim=1, keepdim=True)


@pytest.mark.slow
@pytest.mark.parametrize("options, reference_size", [({}, (128, 512)), ({"polar": False}, (256, 256))])
def test_sizes_equal_the_authors(options, reference_size):
    with torch.device("meta"):
        model = create_model("l2ltr", pretrained=False, **options)
    assert sum(p.numel() for p in model.parameters()) == 195_909_248
    assert sum(p.numel() for p in model.query_tower.trunk.parameters()) == 11_894_848
    assert (model.reference_size, model.embedding_size) == (reference_size, 768)
    shapes = {model.author_key(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    tower = tower_shapes(768, 12, 256)
    assert shapes == {f"{view}.{key}": shape for view in ("model_grd", "model_sat") for key, shape in tower.items()}


@pytest.mark.slow
@torch.no_grad()
def test_embeddings_agree_with_the_description_of_the_method(model, checkpoint):
    load_author_weights(model, checkpoint)
    query, reference = torch.randn(2, 3, 32, 128), torch.randn(2, 3, 64, 64)
    outputs = model(query, reference)
    assert (outputs.query - authors_embedding(checkpoint["model_grd"], query)).abs().max() < 1e-5
    assert (outputs.reference - authors_embedding(checkpoint["model_sat"], reference)).abs().max() < 1e-5
    assert (outputs.query[0] - outputs.query[1]).abs().max() > 1e-3  # the images matter


@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_tensor_of_the_authors_file_is_used(model, checkpoint, prefix, tmp_path):
    views = ("model_grd", "model_sat")
    content = {view: {prefix + key: tensor for key, tensor in checkpoint[view].items()} for view in views}
    torch.save(content | {"optimizer": checkpoint["optimizer"]}, tmp_path / "model_checkpoint.pth")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    load_weights(model, tmp_path / "model_checkpoint.pth")
    ours = model.state_dict()
    assert len(ours) == sum(len(checkpoint[view]) for view in views)
    for key, tensor in ours.items():
        view, name = model.author_key(key).split(".", 1)
        assert torch.equal(tensor, checkpoint[view][name])


def test_missing_and_unknown_tensors_are_named(model, checkpoint):
    cls = "transformer.embeddings.cls_token"
    without = {key: tensor for key, tensor in checkpoint["model_sat"].items() if key != cls}
    with pytest.raises(UserError, match=f"Missing: model_sat.{cls}. Not known to the model: none"):
        load_author_weights(model, checkpoint | {"model_sat": without})
    more = checkpoint["model_sat"] | {"transformer.head.bias": torch.zeros(1)}
    with pytest.raises(UserError, match="Not known to the model: model_sat.transformer.head.bias"):
        load_author_weights(model, checkpoint | {"model_sat": more})


@pytest.mark.parametrize("grid", [(8, 32), (16, 16), (14, 14)])
def test_positions_are_stretched_as_the_authors_do(grid):
    position = torch.randn(1, 197, 5)
    square = position[0, 1:].reshape(14, 14, 5).numpy()
    expected = ndimage.zoom(square, (grid[0] / 14, grid[1] / 14, 1), order=1).reshape(-1, 5)
    stretched = stretch(position, grid)
    assert torch.equal(stretched[:, :1], position[:, :1])
    np.testing.assert_allclose(stretched[0, 1:], expected, atol=1e-5)


@torch.no_grad()
def test_googles_weights_give_timms_tokens_after_the_first_block(monkeypatch):
    """In the first block keys come from its own input, so that it is a usual one: there ours is timm's."""
    google = timm.create_model("vit_base_r50_s16_224", num_classes=0, embed_dim=48, depth=1, num_heads=4).eval()
    for parameter in google.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    monkeypatch.setitem(l2ltr.SIZES, HYBRID, (48, 1, 4))
    monkeypatch.setattr(l2ltr, "timm_model", lambda *_, **__: google)
    model = create_model("l2ltr", query_size=(224, 224), reference_size=(32, 64), polar=False).eval()
    tower = model.query_tower
    images = torch.randn(1, 3, 224, 224)
    tokens = google.patch_embed.proj(tower.trunk(images)).flatten(2).transpose(1, 2)
    tokens = torch.cat([google.cls_token, tokens], 1) + google.pos_embed
    expected = F.normalize(google.norm(google.blocks(tokens))[:, 0])
    torch.testing.assert_close(tower(images), expected, atol=1e-5, rtol=0)
    theirs = google.patch_embed.backbone.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in tower.trunk.state_dict().items())
    assert model.reference_tower.position.shape == (1, 2 * 4 + 1, 48)


@pytest.mark.parametrize("polar", [True, False])
def test_both_towers_give_unit_vectors_and_get_gradients(polar):
    model = create_model("l2ltr", polar=polar, **TINY)
    outputs = model(torch.rand(3, 3, *model.query_size), torch.rand(3, 3, *model.reference_size))
    for embedding in outputs[:2]:
        assert embedding.shape == (3, model.embedding_size)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    sum(embedding[:, 0].sum() for embedding in outputs[:2]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_bfloat16_autocast_keeps_embeddings_in_fp32_and_near():
    model = create_model("l2ltr", **TINY).eval()
    query = torch.rand(2, 3, 32, 88)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.encode_query(query)
    assert low.dtype == torch.float32 and (low * model.encode_query(query)).sum(1).min() > 0.99


@pytest.mark.parametrize("name", METHODS["l2ltr"].recipes)
def test_every_recipe_builds(name):
    recipe = METHODS["l2ltr"].recipes[name]
    with torch.device("meta"):
        model = create_model("l2ltr", **{**recipe.model, "pretrained": False})
    assert model.polar != name.endswith("offset") and recipe.loss.counterfactual == 0


def test_sizes_that_go_with_a_panorama():
    for size, square in (((128, 512), (256, 256)), ((32, 88), (48, 48))):
        assert create_model("l2ltr", **{**TINY, "query_size": size}, polar=False).reference_size == square
    assert create_model("l2ltr", width=60, heads=5, **TINY).embedding_size == 60


def test_what_cannot_work_is_said():
    with pytest.raises(UserError, match="width 90 is no multiple of 4 heads"):
        create_model("l2ltr", width=90, **TINY)
    with pytest.raises(UserError, match="set pretrained to false"):
        create_model("l2ltr", depth=6)
    with pytest.raises(UserError, match="Did you mean 'resnet34'"):
        create_model("l2ltr", **TINY | dict(backbone="resnet_34"))
