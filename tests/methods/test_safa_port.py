"""The PyTorch port of SAFA in the GeoDTR+ repository.

Equality with it was made sure of once with the port's own class beside ours: the same random weights, with and without
polar transform, gave equal embeddings, counterfactuals, dropout and gradients to the last bit. Here, `embedding`
computes the description in plain tensor operations from a state dict under the port's names.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), backbone="tiny", pretrained=False)
SMALL = dict(query_size=(40, 104), reference_size=(48, 48), polar=False, pretrained=False)
POSITIONS = {"grd": 2 * 6, "sat": 3 * 3}  # of the small sizes
# the port's layer numbers, its dropouts counted, and the channels of each convolution
CONVOLUTIONS = dict(zip((0, 2, 5, 7, 10, 12, 14, 17, 20, 23, 27, 30, 33), (64, 64, 128, 128, *[256] * 3, *[512] * 6)))
POOLED_BEFORE = (5, 10, 17, 27)


def authors_shapes() -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the port: backbone_VIEW.0.LAYER.{weight,bias} and spatial_aware_VIEW.{w,b}{1,2}."""
    shapes = {}
    for view, n in POSITIONS.items():
        inputs = 3
        for layer, channels in CONVOLUTIONS.items():
            shapes[f"backbone_{view}.0.{layer}.weight"] = (channels, inputs, 3, 3)
            shapes[f"backbone_{view}.0.{layer}.bias"] = (channels,)
            inputs = channels
        spatial, half = f"spatial_aware_{view}", n // 2
        shapes |= {f"{spatial}.w1": (n, half, 8), f"{spatial}.b1": (1, half, 8)}
        shapes |= {f"{spatial}.w2": (half, n, 8), f"{spatial}.b2": (1, n, 8)}
    return shapes


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {key: draw(key, shape, generator) for key, shape in authors_shapes().items()}


def draw(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Content at random, scaled so that signals neither vanish nor explode."""
    if len(shape) == 4:
        return torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
    return torch.randn(shape, generator=generator) * (shape[0] ** -0.5 if ".w" in key else 0.05)


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        model = create_model("safa_port", **SMALL)
    return model.to_empty(device="cpu").eval()


@pytest.mark.parametrize(
    "options, parameters, embedding_size",
    [
        (dict(), 2 * (14_714_688 + 660_096), 4096),  # 7 x 41 = 287 positions
        (dict(polar=False), 2 * 14_714_688 + 660_096 + 527_360, 4096),  # 16 x 16 = 256 of the aerial image
        (dict(heads=1), 2 * (14_714_688 + 82_512), 512),
    ],
)
def test_sizes_equal_the_ports(options, parameters, embedding_size):
    with torch.device("meta"):
        model = create_model("safa_port", pretrained=False, **options)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.embedding_size == embedding_size
    assert model.reference_size == ((122, 671) if model.polar else (256, 256))


def embedding(state: dict[str, torch.Tensor], images: torch.Tensor, view: str) -> torch.Tensor:
    """[B, 3, H, W] -> [B, 512 * 8]."""
    x = images
    for layer in CONVOLUTIONS:
        x = F.max_pool2d(x, 2) if layer in POOLED_BEFORE else x
        key = f"backbone_{view}.0.{layer}"
        x = F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], padding=1).clamp(min=0)
    w = {key.rsplit(".", 1)[1]: tensor for key, tensor in state.items() if key.startswith(f"spatial_aware_{view}.")}
    x = x.flatten(2)
    response, columns = x.max(1).values, []
    for k in range(8):
        hidden = response @ w["w1"][:, :, k] + w["b1"][:, :, k]
        mask = torch.tanh(hidden @ w["w2"][:, :, k] + w["b2"][:, :, k])
        columns.append((x * mask[:, None]).sum(2))
    stacked = torch.stack(columns, dim=2).flatten(1)
    return stacked / (stacked**2).sum(1, keepdim=True).sqrt()


@torch.no_grad()
def test_embeddings_equal_the_description(model, state):
    load_author_weights(model, state)
    generator = torch.Generator().manual_seed(2)
    query, reference = (torch.randn(2, 3, *size, generator=generator) for size in (model.query_size, (48, 48)))
    outputs = model(query, reference)
    assert (outputs.query - embedding(state, query, "grd")).abs().max() < 1e-5
    assert (outputs.reference - embedding(state, reference, "sat")).abs().max() < 1e-5
    assert (outputs.query[0] - outputs.query[1]).abs().max() > 1e-3  # the images matter


def test_every_tensor_is_used_and_every_parameter_filled(model, state, tmp_path):
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, float("nan"))
    torch.save({"epoch": 7, "model_state_dict": {f"module.{key}": t for key, t in state.items()}}, tmp_path / "e.pth")
    load_author_weights(model, tmp_path / "e.pth")
    ours = model.state_dict()
    assert len(ours) == len(state)
    assert all(torch.equal(tensor, state[model.author_key(key)]) for key, tensor in ours.items())


def test_faults_are_named(model, state):
    missing = {key: tensor for key, tensor in state.items() if key != "spatial_aware_sat.w1"}
    with pytest.raises(UserError, match="Missing: spatial_aware_sat.w1. Not known to the model: none"):
        load_author_weights(model, missing)
    with pytest.raises(UserError, match="Not known to the model: backbone_grd.0.18.weight"):
        load_author_weights(model, state | {"backbone_grd.0.18.weight": torch.zeros(1)})
    with pytest.raises(UserError, match="other shapes.*query_tower.spatial.b1 is .1, 143, 8. there"):
        load_author_weights(model, state | {"spatial_aware_grd.b1": torch.zeros(1, 143, 8)})
    with pytest.raises(UserError, match="VGG16 alone, not 'tiny'"):
        load_author_weights(create_model("safa_port", **TINY), state)
    with pytest.raises(UserError, match="Images of 12x88 pixels are too small"):
        create_model("safa_port", **{**SMALL, "query_size": (12, 88)})


@pytest.mark.parametrize("polar", [True, False])
def test_both_towers_give_unit_vectors_and_get_gradients(polar):
    torch.manual_seed(0)
    model = create_model("safa_port", polar=polar, **TINY)
    outputs = model(torch.rand(3, 3, *model.query_size), torch.rand(3, 3, *model.reference_size), counterfactual=True)
    for found in outputs[:4]:
        assert found.shape == (3, model.embedding_size) and found.dtype == torch.float32
        torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    sum(found[:, 0].sum() for found in outputs[:4]).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_counterfactual_lies_elsewhere_is_redrawn_and_leaves_the_spatial_embedding_alone():
    torch.manual_seed(0)
    model, query = create_model("safa_port", **TINY).eval(), torch.rand(2, 3, 32, 88)
    outputs, again = (model(query=query, counterfactual=True) for _ in range(2))
    assert torch.equal(outputs.query, again.query) and not torch.equal(outputs.query_cf, again.query_cf)
    assert (outputs.query_cf < 0).any()  # masks of both signs: U(-1, 1); features are positive
    assert (outputs.query * outputs.query_cf).sum(dim=1).max() < 0.9
    outputs.query_cf[:, 0].sum().backward()
    assert all(p.grad is None for p in model.query_tower.spatial.parameters())
    assert all(p.grad is not None for p in model.query_tower.trunk.parameters())


@pytest.mark.parametrize("name", METHODS["safa_port"].recipes)
def test_every_recipe_builds(name):
    recipe = METHODS["safa_port"].recipes[name]
    with torch.device("meta"):
        model = create_model("safa_port", **{**recipe.model, "pretrained": False})
    assert model.embedding_size > 0 and recipe.loss.counterfactual == 1
