"""The authors' checkpoints: their key names, their wrappers, and the embeddings that follow from them.

`authors_embedding` computes an embedding from such a state dict with plain tensor operations, by the published
description: none of our layers is used but the trunks' ready-made blocks, which torchvision names as the authors do.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import convnext_tiny

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.utils.errors import UserError

POSITIONS = {"grd": 7 * 41, "sat": 16 * 16}
SIZES = {"grd": (122, 671), "sat": (256, 256)}
CHANNELS, HEADS, DESCRIPTORS, FEEDFORWARD = 384, 4, 8, 512


def authors_shapes() -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the authors' ConvNeXt model without polar transform."""
    shapes = {}
    trunk = {k: tuple(v.shape) for k, v in convnext_tiny().features[:6].state_dict().items()}
    for view, positions in POSITIONS.items():
        shapes |= {f"backbone_{view}.net.{key}": shape for key, shape in trunk.items()}
        gle, half = f"GLE_{view}", positions // 2
        shapes[f"{gle}.pe.pe"] = (1, positions, CHANNELS)
        for layer in range(2):
            prefix = f"{gle}.transformer_encoder.layers.{layer}"
            shapes |= {
                f"{prefix}.self_attn.in_proj_weight": (3 * CHANNELS, CHANNELS),
                f"{prefix}.self_attn.in_proj_bias": (3 * CHANNELS,),
                f"{prefix}.self_attn.out_proj.weight": (CHANNELS, CHANNELS),
                f"{prefix}.self_attn.out_proj.bias": (CHANNELS,),
                f"{prefix}.linear1.weight": (FEEDFORWARD, CHANNELS),
                f"{prefix}.linear1.bias": (FEEDFORWARD,),
                f"{prefix}.linear2.weight": (CHANNELS, FEEDFORWARD),
                f"{prefix}.linear2.bias": (CHANNELS,),
            }
            shapes |= {f"{prefix}.norm{i}.{part}": (CHANNELS,) for i in (1, 2) for part in ("weight", "bias")}
        shapes |= {f"{gle}.transformer_encoder.norm.{part}": (CHANNELS,) for part in ("weight", "bias")}
        shapes |= {f"{gle}.pointwise.weight": (DESCRIPTORS, CHANNELS), f"{gle}.pointwise.bias": (DESCRIPTORS,)}
        shapes |= {f"{gle}.w1": (DESCRIPTORS, positions, half), f"{gle}.b1": (1, DESCRIPTORS, half)}
        shapes |= {f"{gle}.w2": (DESCRIPTORS, half, positions), f"{gle}.b2": (1, DESCRIPTORS, positions)}
    return shapes


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A checkpoint of theirs with random content, scaled so that signals neither vanish nor explode."""
    generator = torch.Generator().manual_seed(1)
    return {key: draw(key, shape, generator) for key, shape in authors_shapes().items()}


def draw(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    tensor = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return tensor / math.sqrt(max(1, math.prod(shape[1:]) if "backbone" in key else shape[1]))
    return 0.1 * tensor + (1 if key.endswith("weight") else 0)


@pytest.fixture(scope="module")
def model():
    return create_model("geodtr_plus", polar=False, pretrained=False).eval()


def authors_embedding(state: dict[str, torch.Tensor], images: torch.Tensor, view: str) -> torch.Tensor:
    """[B, 3, H, W] -> [B, 3072] by the description of the method."""
    trunk = convnext_tiny().features[:6].eval()
    prefix = f"backbone_{view}.net."
    trunk.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    features = trunk(images).flatten(2)
    w = {k.removeprefix(f"GLE_{view}."): v for k, v in state.items() if k.startswith(f"GLE_{view}.")}
    tokens = features.transpose(1, 2) + w["pe.pe"]
    for layer in range(2):
        lw = {k.removeprefix(f"transformer_encoder.layers.{layer}."): v for k, v in w.items()}
        norm = lambda x, i, lw=lw: F.layer_norm(x, (CHANNELS,), lw[f"norm{i}.weight"], lw[f"norm{i}.bias"])  # noqa: E731
        tokens = norm(tokens + attention(tokens, lw), 1)
        hidden = F.gelu(F.linear(tokens, lw["linear1.weight"], lw["linear1.bias"]))
        tokens = norm(tokens + F.linear(hidden, lw["linear2.weight"], lw["linear2.bias"]), 2)
    tokens = F.layer_norm(tokens, (CHANNELS,), w["transformer_encoder.norm.weight"], w["transformer_encoder.norm.bias"])
    masks = F.linear(tokens, w["pointwise.weight"], w["pointwise.bias"])  # [B, positions, K]
    masks = torch.einsum("bpk,kph->bkh", masks, w["w1"]) + w["b1"]
    masks = torch.sigmoid(torch.einsum("bkh,khp->bkp", masks, w["w2"]) + w["b2"])
    embedding = torch.einsum("bcp,bkp->bck", features, masks).flatten(1)
    return embedding / embedding.norm(dim=1, keepdim=True)


def attention(x: torch.Tensor, w: dict[str, torch.Tensor]) -> torch.Tensor:
    q, k, v = F.linear(x, w["self_attn.in_proj_weight"], w["self_attn.in_proj_bias"]).chunk(3, dim=-1)
    split = lambda t: t.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # noqa: E731
    weights = (split(q) @ split(k).transpose(-1, -2) / math.sqrt(CHANNELS // HEADS)).softmax(-1)
    y = (weights @ split(v)).transpose(1, 2).flatten(-2)
    return F.linear(y, w["self_attn.out_proj.weight"], w["self_attn.out_proj.bias"])


@pytest.mark.slow
@torch.no_grad()
def test_embeddings_agree_with_the_description_of_the_method(model, state):
    load_author_weights(model, state)
    query, reference = torch.randn(2, 3, *SIZES["grd"]), torch.randn(2, 3, *SIZES["sat"])
    outputs = model(query, reference)
    assert (outputs.query - authors_embedding(state, query, "grd")).abs().max() < 1e-5
    assert (outputs.reference - authors_embedding(state, reference, "sat")).abs().max() < 1e-5
    assert (outputs.query[0] - outputs.query[1]).abs().max() > 1e-3  # the images matter


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", [None, "model_state_dict", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_tensor_is_used_and_every_parameter_filled(model, state, wrapper, prefix, tmp_path):
    content = {prefix + key: tensor for key, tensor in state.items()}
    torch.save(content if wrapper is None else {"epoch": 7, wrapper: content}, tmp_path / "epoch_7.pth")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    load_author_weights(model, tmp_path / "epoch_7.pth")
    ours = model.state_dict()
    assert len(ours) == len(state)
    assert all(torch.equal(ours[key], state[model.author_key(key)]) for key in ours)


def test_resnet_keys_are_known_too():
    model = create_model("geodtr_plus", backbone="resnet34", pretrained=False)
    state = {model.author_key(key): torch.rand_like(t.float()).to(t.dtype) for key, t in model.state_dict().items()}
    assert "backbone_grd.layers.3.0.conv1.weight" in state and "backbone_sat.layers.1.running_var" in state
    load_author_weights(model, state)
    assert torch.equal(model.reference_tower.layout.position, state["GLE_sat.pe.pe"])


def test_faults_are_named(model, state, tmp_path):
    missing = {k: v for k, v in state.items() if k != "GLE_sat.w1"}
    with pytest.raises(UserError, match="Missing: GLE_sat.w1. Not known to the model: none"):
        load_author_weights(model, missing)
    with pytest.raises(UserError, match="Not known to the model: extra.weight"):
        load_author_weights(model, state | {"extra.weight": torch.zeros(1)})
    with pytest.raises(UserError, match="other shapes.*query_tower.layout.position is .1, 300, 384. there"):
        load_author_weights(model, state | {"GLE_grd.pe.pe": torch.zeros(1, 300, 384)})
    with pytest.raises(UserError, match="There is no weights file"):
        load_author_weights(model, tmp_path / "none.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 not all of it")
    with pytest.raises(UserError, match="is damaged or cut short"):
        load_author_weights(model, tmp_path / "cut.pth")


def test_a_refused_checkpoint_leaves_the_model_as_it_was(model, state):
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(UserError):
        load_author_weights(model, state | {"GLE_grd.pe.pe": torch.zeros(1, 300, 384)})
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_load_weights_tells_the_authors_files_from_ours(model, state, tmp_path):
    torch.save({"model_state_dict": state}, tmp_path / "theirs.pth")
    load_weights(model, tmp_path / "theirs.pth")
    assert torch.equal(model.query_tower.layout.position, state["GLE_grd.pe.pe"])
