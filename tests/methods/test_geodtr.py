"""GeoDTR against its description and its authors' checkpoints.

`description` computes embeddings from a state dict with the authors' names, by plain tensor operations; of ready-made
blocks it uses torchvision's ResNet-34 alone, which names its layers as the authors do. With the same deterministic
weights the authors' own model was run beside ours once: embeddings and gradients were equal to the last bit, with the
polar transform and without.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet34

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), backbone="tiny", feedforward=64, pretrained=False)
SMALL = dict(query_size=(58, 160), reference_size=(64, 64), polar=False, pretrained=False)
HEADS, DESCRIPTORS, FEEDFORWARD = 4, 8, 2048
POSITIONS = {"grd": 4 * 10, "sat": 4 * 4}  # of the small images
AUTHORS_POSITIONS = {"grd": 8 * 42, "sat": 16 * 16}


def trunk() -> nn.Sequential:
    """ResNet-34 without max-pooling and head, and without content."""
    with torch.device("meta"):
        layers = list(resnet34().children())
    return nn.Sequential(*layers[:3], *layers[4:-2])


def authors_shapes(positions_of: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the authors' model."""
    shapes = {}
    backbone = {key: tuple(tensor.shape) for key, tensor in trunk().state_dict().items()}
    for view, positions in positions_of.items():
        width = positions // 2
        shapes |= {f"backbone_{view}.layers.{key}": shape for key, shape in backbone.items()}
        shapes |= {f"ge_{view}.w1": (positions, DESCRIPTORS, width), f"ge_{view}.b1": (1, DESCRIPTORS, width)}
        shapes |= {f"ge_{view}.w2": (width, DESCRIPTORS, positions), f"ge_{view}.b2": (1, DESCRIPTORS, positions)}
        module = f"ge_{view}.tr_module"
        shapes[f"{module}.pos_encoder.linear"] = (positions, DESCRIPTORS, width)
        shapes[f"{module}.pos_encoder.embedding_parameter"] = (1, DESCRIPTORS, width)
        encoder = nn.TransformerEncoderLayer(width, HEADS, FEEDFORWARD, device="meta").state_dict()
        for layer in range(2):
            prefix = f"{module}.transformer_encoder.layers.{layer}"
            shapes |= {f"{prefix}.{key}": tuple(tensor.shape) for key, tensor in encoder.items()}
        shapes |= {f"{module}.transformer_encoder.norm.{part}": (width,) for part in ("weight", "bias")}
    return shapes


def draw(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Content under which signals neither vanish nor explode, and masks are cut at both ends."""
    tensor = torch.randn(shape, generator=generator)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    if key.endswith("running_var"):
        return 0.7 + 0.3 * tensor.abs()
    if key.endswith(("w1", "w2", "linear")):
        return tensor / math.sqrt(shape[0])
    if len(shape) in (2, 4):
        return tensor * math.sqrt(2 / math.prod(shape[1:]))
    return 0.1 * tensor + (1 if key.endswith("weight") else 0)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {key: draw(key, shape, generator) for key, shape in authors_shapes(POSITIONS).items()}


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        model = create_model("geodtr", **SMALL)
    return model.to_empty(device="cpu").eval()


def description(state: dict[str, torch.Tensor], images: torch.Tensor, view: str) -> torch.Tensor:
    """[B, 3, H, W] -> [B, 4096]."""
    prefix = f"backbone_{view}.layers."
    backbone = trunk().eval()
    backbone.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, assign=True)
    features = backbone(images).flatten(2)  # [B, C, positions]
    w = {k.removeprefix(f"ge_{view}.").replace("tr_module.", ""): v for k, v in state.items() if f"ge_{view}." in k}
    saliency, strongest = features.amax(1), features.argmax(1) / 512
    place = torch.einsum("bp,pkw->bkw", strongest, w["pos_encoder.linear"]) + w["pos_encoder.embedding_parameter"]
    tokens = torch.einsum("bp,pkw->bkw", saliency, w["w1"]) + w["b1"] + place.clamp(-1, 1)
    for layer in range(2):
        tokens = encoder_layer(tokens, w, f"transformer_encoder.layers.{layer}.")
    tokens = norm(tokens, w, "transformer_encoder.norm")
    masks = (torch.einsum("bkw,wkp->bkp", tokens, w["w2"]) + w["b2"]).clamp(-1, 1)
    embedding = torch.einsum("bcp,bkp->bck", features, masks).flatten(1)
    return embedding / embedding.norm(dim=1, keepdim=True)


def norm(x: torch.Tensor, w: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def encoder_layer(x: torch.Tensor, w: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    w = {key.removeprefix(prefix): value for key, value in w.items() if key.startswith(prefix)}
    q, k, v = (
        part.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for part in F.linear(x, w["self_attn.in_proj_weight"], w["self_attn.in_proj_bias"]).chunk(3, dim=-1)
    )
    weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
    attended = (weights @ v).transpose(1, 2).flatten(-2)
    x = norm(x + F.linear(attended, w["self_attn.out_proj.weight"], w["self_attn.out_proj.bias"]), w, "norm1")
    hidden = F.gelu(F.linear(x, w["linear1.weight"], w["linear1.bias"]))
    return norm(x + F.linear(hidden, w["linear2.weight"], w["linear2.bias"]), w, "norm2")


@torch.no_grad()
def test_embeddings_agree_with_the_description_of_the_method(model, state):
    load_author_weights(model, state)
    query, reference = (2 * torch.rand(2, 3, *size) - 1 for size in (model.query_size, model.reference_size))
    outputs = model(query, reference)
    assert (outputs.query - description(state, query, "grd")).abs().max() < 1e-5
    assert (outputs.reference - description(state, reference, "sat")).abs().max() < 1e-5
    assert (outputs.query[0] - outputs.query[1]).abs().max() > 1e-3  # the images matter


def test_the_layout_of_a_checkpoint_at_the_authors_sizes():
    with torch.device("meta"):
        model = create_model("geodtr", polar=False, pretrained=False)
    ours = {model.author_key(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert ours == authors_shapes(AUTHORS_POSITIONS)


def test_every_tensor_of_the_authors_is_used_and_every_one_of_ours_filled(model, state):
    for tensor in model.state_dict().values():
        tensor.fill_(float("nan") if tensor.is_floating_point() else -1)
    load_author_weights(model, {"model_state_dict": {f"module.{key}": tensor for key, tensor in state.items()}})
    ours = model.state_dict()
    assert len(ours) == len(state)
    assert all(torch.equal(ours[key], state[model.author_key(key)]) for key in ours)


def test_faults_of_a_checkpoint_are_named(model, state):
    with pytest.raises(UserError, match="Missing: ge_sat.tr_module.pos_encoder.linear. Not known to the model: none"):
        load_author_weights(model, {k: v for k, v in state.items() if k != "ge_sat.tr_module.pos_encoder.linear"})
    with pytest.raises(UserError, match="Not known to the model: GLE_grd.w1"):
        load_author_weights(model, state | {"GLE_grd.w1": torch.zeros(1)})


@pytest.mark.parametrize(
    "options, parameters",
    [(dict(), 48_508_608), (dict(polar=False), 47_515_808), (dict(heads=8, layers=8), 58_163_616)],
)
def test_sizes_equal_the_authors(options, parameters):
    with torch.device("meta"):
        model = create_model("geodtr", pretrained=False, **options)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.embedding_size == 4096
    assert model.reference_size == ((122, 671) if model.polar else (256, 256))


@pytest.mark.parametrize("polar", [True, False])
def test_both_towers_give_unit_vectors_and_get_gradients(polar):
    model = create_model("geodtr", polar=polar, **TINY)
    outputs = model(torch.rand(3, 3, *model.query_size), torch.rand(3, 3, *model.reference_size), counterfactual=True)
    for embedding in outputs[:4]:
        assert embedding.shape == (3, model.embedding_size)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    sum(embedding[:, 0].sum() for embedding in outputs[:4]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_counterfactual_masks_are_uniform_between_minus_one_and_one(monkeypatch):
    model = create_model("geodtr", **TINY).eval()
    drawn = []
    uniform = torch.Tensor.uniform_
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda x, *ends: drawn.append(ends) or uniform(x, *ends))
    first, second = (model(query=torch.ones(1, 3, 32, 88), counterfactual=True) for _ in range(2))
    assert drawn == [(-1, 1)] * 2
    assert torch.equal(first.query, second.query) and not torch.equal(first.query_cf, second.query_cf)


def test_an_odd_number_of_positions_works_too():
    """The authors' code cannot be put on the 287 positions of a ConvNeXt; ours rounds the width of tokens down."""
    with torch.device("meta"):
        model = create_model("geodtr", backbone="convnext_tiny", pretrained=False)
    assert model.query_tower.layout.w1.shape == (287, 8, 140)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(UserError, match="too small for 4 heads"):
        create_model("geodtr", **TINY | dict(query_size=(8, 40)))


def test_published_rows_and_their_settings():
    cls = METHODS["geodtr"]
    assert cls.paper.published["cvusa", "cvusa", True]["recall_at_1"] == 95.43
    assert cls.paper.published["vigor-cross", "vigor-cross", False]["hit_rate"] == 30.19
    assert cls.mean == cls.std == (0.5, 0.5, 0.5)
    assert {recipe.augment.chsg for recipe in cls.recipes.values()} == {"ls"}
