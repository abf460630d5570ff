"""CVM-Net. `embedding` stands for the authors' TensorFlow code: its published description in plain tensor operations on
their variables, in their layout, with poolings as TensorFlow pads them, written without our layers."""

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.layers.vgg16 import CHANNELS, LAYERS
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.methods.export import export_tower
from geodtr_plugin.trainers import WeightAverage
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), reference_size=(32, 32), backbone="tiny", pretrained=False, clusters=4, dim=24)
CONVOLUTIONS = [name for name in LAYERS if name.startswith("conv")]
VGG = 14_714_688


@pytest.mark.parametrize(
    "variant, parameters",
    [
        ("I", 163_782_400),
        ("II", 2 * VGG + 3 * (512 * 512 + 512) + (9 * 512 * 512 + 512) + 65_600 + 32_768 * 4096),
    ],
)
def test_parameters_equal_the_authors(variant, parameters):
    with torch.device("meta"):
        model = create_model("cvm_net", pretrained=False, variant=variant)
    frozen = sum(p.numel() for p in model.query_tower.trunk[:17].parameters())  # conv1 to conv3
    assert count_parameters(model) == parameters and count_parameters(model, trained=True) == parameters - 2 * frozen
    assert (model.query_size, model.reference_size, model.embedding_size) == ((224, 1232), (512, 512), 4096)
    for role, size in (("query", (14, 77)), ("reference", (32, 32))):
        features = getattr(model, f"{role}_tower").trunk(torch.empty(1, *model.input_shape(role), device="meta"))
        assert features.shape == (1, 512, *size)


def tensorflow_arrays(variant: str, clusters: int, dim: int) -> dict[str, np.ndarray]:
    """A checkpoint as the authors' code saves it."""
    draw = np.random.default_rng(0)
    shapes = {}
    for view in ("grd", "sat"):
        inputs = 3
        for name, outputs in zip(CONVOLUTIONS, CHANNELS):
            shapes |= {f"VGG_{view}/{name}/weights": (3, 3, inputs, outputs), f"VGG_{view}/{name}/biases": (outputs,)}
            inputs = outputs
    vlads = {"I": ["netvlad_grd", "netvlad_sat"], "II": ["netvlad"]}[variant]
    for scope in vlads:
        shapes |= {f"{scope}/cluster_weights": (512, clusters), f"{scope}/cluster_biases": (clusters,)}
        shapes |= {f"{scope}/cluster_weights2": (1, 512, clusters)}
    if variant == "I":
        shapes |= {"dim_reduction/fc1/weights": (512 * clusters, dim), "dim_reduction/fc1/biases": (dim,)}
    else:
        shapes["netvlad/hidden1_weights"] = (512 * clusters, dim)
        own = {f"transformation_trans/{view}_trans_conv1": 1 for view in ("grd", "sat")}
        shared = {"transformation_trans_shared/trans_conv1": 3, "transformation_trans_shared/trans_conv2": 1}
        for name, k in {**own, **shared}.items():
            shapes |= {f"{name}/weights": (k, k, 512, 512), f"{name}/biases": (512,)}
    spread = {name: (2 / np.prod(shape[:-1])) ** 0.5 if len(shape) == 4 else 0.1 for name, shape in shapes.items()}
    return {name: draw.normal(0, spread[name], shape).astype(np.float32) for name, shape in shapes.items()}


def embedding(arrays: dict[str, np.ndarray], images: torch.Tensor, view: str, variant: str) -> torch.Tensor:
    """RGB [B, 3, H, W] -> [B, D], of unit norm."""
    w = {name: torch.from_numpy(x) for name, x in arrays.items()}

    def conv(x: torch.Tensor, name: str) -> torch.Tensor:
        kernel = w[f"{name}/weights"].permute(3, 2, 0, 1)
        return F.conv2d(x, kernel, w[f"{name}/biases"], padding=kernel.shape[2] // 2).clamp(min=0)

    x = images[:, [2, 1, 0]]
    for name in CONVOLUTIONS:
        x = conv(x, f"VGG_{view}/{name}")
        if name in ("conv1_2", "conv2_2", "conv3_3", "conv4_3"):
            x = F.max_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=-1.0), 2)
    scope = f"netvlad_{view}" if variant == "I" else "netvlad"
    if variant == "II":
        x = conv(x, f"transformation_trans/{view}_trans_conv1")
        for name in ("trans_conv1", "trans_conv2"):
            x = conv(x, f"transformation_trans_shared/{name}")
    rows = []
    for image in x:
        local = image.flatten(1).T  # [positions, channels]
        local = local / local.norm(dim=1, keepdim=True)
        shares = (local @ w[f"{scope}/cluster_weights"] + w[f"{scope}/cluster_biases"]).softmax(1)
        vlad = local.T @ shares - shares.sum(0) * w[f"{scope}/cluster_weights2"][0]  # [channels, clusters]
        vlad = (vlad / vlad.norm(dim=0)).flatten()
        rows.append(vlad / vlad.norm())
    vlads = torch.stack(rows)
    if variant == "I":
        projected = vlads @ w["dim_reduction/fc1/weights"] + w["dim_reduction/fc1/biases"]
    else:
        projected = vlads @ w["netvlad/hidden1_weights"]
    return projected / projected.norm(dim=1, keepdim=True)


@torch.no_grad()
@pytest.mark.parametrize("variant", ["I", "II"])
def test_weights_of_tensorflow_give_the_embeddings_of_the_description(variant):
    arrays = tensorflow_arrays(variant, clusters=4, dim=24)
    options = dict(query_size=(36, 68), reference_size=(48, 48), clusters=4, dim=24, pretrained=False)
    model = load_author_weights(create_model("cvm_net", variant=variant, **options), arrays).eval()
    generator = torch.Generator().manual_seed(0)
    for role, view in (("query", "grd"), ("reference", "sat")):
        images = torch.randn(2, *model.input_shape(role), generator=generator)
        found, expected = getattr(model, f"encode_{role}")(images), embedding(arrays, images, view, variant)
        assert (found - expected).abs().max() < 1e-5
        assert (expected[0] - expected[1]).abs().max() > 1e-3
    arrays["dim_reduction/fc2/weights"] = arrays["VGG_grd/conv1_1/biases"]
    with pytest.raises(UserError, match="Not known to the model: dim_reduction/fc2/weights"):
        load_author_weights(model, arrays)


def test_the_trunks_of_others_have_no_weights_of_the_authors():
    with pytest.raises(UserError, match="weights are none of cvm_net"):
        load_author_weights(create_model("cvm_net", **TINY), {"dim_reduction/fc1/weights": np.zeros((384, 24))})


@pytest.mark.parametrize("variant", ["I", "II"])
def test_what_both_views_share_is_there_once(variant):
    torch.manual_seed(0)
    model = create_model("cvm_net", **TINY, variant=variant).eval()
    names = [name for name in model.state_dict() if name.startswith("shared")]
    assert names and not any("shared" in name.removeprefix("shared") for name in model.state_dict())
    save(model.state_dict())  # refuses a tensor under two names
    images = torch.randn(2, 3, 32, 88)
    query, reference, *_ = model.train()(images, torch.randn(2, 3, 32, 32))
    (query.sum() + reference[:, 0].sum()).backward()
    assert all(p.grad is not None for p in model.parameters())
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        for parameter in model.shared.parameters():
            parameter.zero_()
    kept = average.model.eval()
    assert kept.query_tower._shared[0] is kept.shared is kept.reference_tower._shared[0] is not model.shared
    assert kept.encode_query(images).norm(dim=1).sub(1).abs().max() < 1e-5


@pytest.mark.slow
def test_its_towers_become_programs():
    torch.manual_seed(0)
    model = create_model("cvm_net", **TINY).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert (export_tower(model, "reference").module()(images) - model.encode_reference(images)).abs().max() < 1e-5


def test_the_start_is_the_authors():
    torch.manual_seed(0)
    model = create_model("cvm_net", **TINY | dict(clusters=64, dim=256))
    weight = model.shared.weight
    assert weight.abs().max() <= 0.01 and float(weight.detach().std()) == pytest.approx(0.0044, abs=2e-4)  # cut at two
    assert model.shared.bias.eq(0.1).all()
    assert float(model.query_tower.own.centroids.detach().std()) == pytest.approx(96**-0.5, rel=0.05)
    other = create_model("cvm_net", **TINY | dict(clusters=64, dim=256), variant="II")
    assert float(other.shared[-1].weight.detach().std()) == pytest.approx(1 / 8, rel=0.05)
    assert other.shared[-1].bias is None and other.query_tower.own[0].bias.eq(0).all()


def test_the_paper_recipe_is_the_authors():
    recipe = METHODS["cvm_net"].recipes["paper"]
    assert (recipe.augment.tiles, recipe.augment.panoramas, recipe.augment.chsg) == ("crop+turn", "none", "raw")
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.weight_decay, optim.batch_size) == ("adam", 1e-5, 0, 12)
    with torch.device("meta"):
        trunk = create_model("cvm_net", pretrained=False).query_tower.trunk
    assert trunk.dropout == 0.2 and not trunk[14].weight.requires_grad and trunk[17].weight.requires_grad


def test_what_cannot_be_is_answered_with_a_sentence():
    with pytest.raises(UserError, match="variant is 'III'"):
        create_model("cvm_net", **TINY, variant="III")
