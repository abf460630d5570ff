"""VIGOR and SAFA + Mining. Their authors' TensorFlow code does not run here: `network` stands for it, in plain
operations on arrays in TensorFlow's layout, written without our layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.safa_mining import FALLEN
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.pair_data import OFFSET

SIZES = {"grd": (32, 64), "sat": (64, 64)}  # maps of 1 x 2 and 2 x 2
POSITIONS = {"grd": 2, "sat": 4}
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
POOLED = (1, 3, 6, 9, 12)
HEADS, CHANNELS, D = 8, 512, 4096
MEAN_BGR = torch.tensor([103.939, 116.779, 123.6])
TINY = dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False)


@pytest.mark.parametrize(
    "name, options, parameters",
    [("vigor", {}, 34_028_818), ("vigor", {"offset_head": False}, 29_832_976), ("safa_mining", {}, 29_832_976)],
)
def test_sizes_equal_the_authors(name, options, parameters):
    with torch.device("meta"):
        model = create_model(name, pretrained=False, **options)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert (model.query_size, model.reference_size, model.embedding_size) == ((320, 640), (320, 320), 4096)
    assert model.query_tower.trunk.dropout == 0 and not model.polar and model.query_tower.spatial.pool == "max"


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Variables of the authors' checkpoint for the small sizes, and some of their optimizer's."""
    random, found = np.random.default_rng(1), {}

    def draw(name, *shape, spread):
        found[name] = (spread * random.standard_normal(shape)).astype(np.float32)

    for view, n in POSITIONS.items():
        inputs = 3
        for number, width in enumerate(WIDTHS):
            scope = f"vgg_{view}/conv2d_{number}" if number else f"vgg_{view}/conv2d"
            draw(f"{scope}/kernel", 3, 3, inputs, width, spread=(2 / 9 / inputs) ** 0.5)
            draw(f"{scope}/bias", width, spread=0.05)
            inputs = width
        for i, shape in ((1, (n, n // 2)), (2, (n // 2, n))):
            draw(f"spatial_{view}/weights{i}", *shape, HEADS, spread=0.1)
            draw(f"spatial_{view}/biases{i}", 1, shape[1], HEADS, spread=0.05)
    for i, shape in ((1, (2 * D, 512)), (2, (512, 2))):
        draw(f"fc_delta_{i}/weights", *shape, spread=0.5 * shape[0] ** -0.5)
        draw(f"fc_delta_{i}/biases", shape[1], spread=0.05)
    slots = {f"{name}/Adam": np.zeros_like(x) for name, x in found.items()}
    return found | slots | {"Variable": np.asarray(7), "beta1_power": np.float32(0.5)}


def network(arrays, ground, aerial):
    """[B, H, W, 3] of 0 to 255 in blue, green, red -> unit embeddings of both views, and (d0, d1) / 320."""
    tensors = {name: torch.from_numpy(np.asarray(x)) for name, x in arrays.items()}
    flat = {}
    for view, images in (("grd", ground), ("sat", aerial)):
        x = (images - MEAN_BGR).permute(0, 3, 1, 2)
        for number in range(len(WIDTHS)):
            scope = f"vgg_{view}/conv2d_{number}" if number else f"vgg_{view}/conv2d"
            kernel = tensors[f"{scope}/kernel"].permute(3, 2, 0, 1)
            x = F.conv2d(x, kernel, tensors[f"{scope}/bias"], padding=1).clamp(min=0)
            x = F.max_pool2d(x, 2) if number in POOLED else x
        x = x.permute(0, 2, 3, 1).flatten(1, 2)  # positions, then channels
        w = {n: tensors[f"spatial_{view}/{n}"] for n in ("weights1", "biases1", "weights2", "biases2")}
        hidden = torch.einsum("bi,ijd->bjd", x.amax(-1), w["weights1"]) + w["biases1"]
        masks = torch.einsum("bjd,jid->bid", hidden, w["weights2"]) + w["biases2"]
        flat[view] = torch.einsum("bic,bid->bdc", x, masks).flatten(1)  # head by head
    both = torch.cat([flat["sat"], flat["grd"]], dim=1)
    hidden = (both @ tensors["fc_delta_1/weights"] + tensors["fc_delta_1/biases"]).clamp(min=0)
    delta = hidden @ tensors["fc_delta_2/weights"] + tensors["fc_delta_2/biases"]
    return *(x / x.norm(dim=1, keepdim=True) for x in (flat["grd"], flat["sat"])), delta


def small(**options):
    name = options.pop("name", "vigor")
    with torch.device("meta"):
        model = create_model(name, pretrained=False, query_size=SIZES["grd"], reference_size=SIZES["sat"], **options)
    return model.to_empty(device="cpu").eval()


@torch.no_grad()
def test_the_authors_weights_give_their_embeddings_and_offsets(arrays):
    model = load_author_weights(small(), arrays)
    generator = torch.Generator().manual_seed(2)
    ground, aerial = (torch.randint(0, 256, (2, *size, 3), generator=generator).float() for size in SIZES.values())
    query, reference, delta = network(arrays, ground, aerial)
    rgb = [images.flip(-1).permute(0, 3, 1, 2) for images in (ground, aerial)]
    outputs = model(*((x / 255 - torch.tensor(model.mean)[:, None, None]) / model.std[0] for x in rgb))
    for ours, theirs in ((outputs.query, query), (outputs.reference, reference)):
        by_head = ours.unflatten(1, (CHANNELS, HEADS)).transpose(1, 2).flatten(1)
        torch.testing.assert_close(by_head, theirs, atol=1e-5, rtol=1e-4)
        assert (ours[0] - ours[1]).abs().max() > 1e-3  # the images matter
    shares = delta * torch.tensor([0.5, -0.5])  # (d0, d1) / 320 is down and left, in halves of the side
    torch.testing.assert_close(outputs.extras[OFFSET], shares, rtol=1e-3, atol=1e-3 * shares.abs().max().item())


def test_weights_of_the_first_stage_and_of_safa_mining_are_those_without_the_head(arrays):
    plain = {name: x for name, x in arrays.items() if "delta" not in name}
    one, other = load_author_weights(small(offset_head=False), plain), small(name="safa_mining")
    load_author_weights(other, plain)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
    with pytest.raises(UserError, match="Missing: fc_delta_1/biases"):
        load_author_weights(small(), plain)
    with pytest.raises(UserError, match="Not known to the model: fc_delta_1/biases"):
        load_author_weights(small(offset_head=False), arrays)
    odd = {**arrays, "fc_delta_1/weights": np.zeros((100, 512), np.float32)}
    with pytest.raises(UserError, match="other shapes.*offset_head.hidden"):
        load_author_weights(small(), odd)
    with pytest.raises(UserError, match="no checkpoint layout"):
        load_author_weights(create_model("vigor", **TINY), arrays)


def test_the_second_stage_takes_the_first_ones_weights_and_a_fresh_head(tmp_path):
    torch.manual_seed(0)
    first, second = create_model("vigor", offset_head=False, **TINY), create_model("vigor", **TINY)
    save_file(first.state_dict(), tmp_path / "first.safetensors")
    head = {name: x.clone() for name, x in second.offset_head.state_dict().items()}
    load_weights(second, tmp_path / "first.safetensors")
    state = second.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in first.state_dict().items())
    assert all(torch.equal(second.offset_head.state_dict()[name], tensor) for name, tensor in head.items())
    spread = second.offset_head.out.weight.detach().std().item()
    assert spread == pytest.approx(0.0044, abs=5e-4)  # 0.005, cut off at two of them


def test_the_head_sees_the_partners_and_not_the_semi_positives():
    torch.manual_seed(0)
    model = create_model("vigor", **TINY)
    query, reference = torch.randn(3, 3, 32, 88), torch.randn(6, 3, 64, 64)
    outputs = model.eval()(query, reference)
    assert outputs.reference.shape == (6, model.embedding_size) and outputs.extras[OFFSET].shape == (3, 2)
    torch.testing.assert_close(outputs.extras[OFFSET], model(query, reference[:3]).extras[OFFSET])
    assert model(query).extras is None and model(reference=reference).extras is None
    outputs.extras[OFFSET].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@torch.no_grad()
def test_offsets_stay_in_fp32_under_autocast():
    model = create_model("vigor", **TINY).eval()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(torch.randn(2, 3, 32, 88), torch.randn(2, 3, 64, 64))
    assert outputs.extras[OFFSET].dtype == outputs.query.dtype == torch.float32


def test_recipes_are_the_authors():
    recipes = METHODS["vigor"].recipes
    first, second = recipes["paper_offset"], recipes["paper_offset_stage2"]
    assert first.next_stage == "paper_offset_stage2" and second.next_stage is None
    assert (first.optim.batch_size, first.optim.epochs, first.optim.lr) == (14, 30, 1e-5)
    assert (second.optim.batch_size, second.optim.epochs) == (10, 15)
    assert second.optim.lr == pytest.approx(1e-5 * 0.1 ** (30 * 3757 / 150_000), rel=1e-3)
    assert second.optim.decay == pytest.approx(0.1 ** (15 * 3757 / 150_000), rel=1e-3) and FALLEN < 0.18
    assert first.sampling.name == second.sampling.name == "hard" and second.loss.objectives
    assert not first.loss.objectives and first.model["offset_head"] is False and second.model["offset_head"]
    assert set(create_model("vigor", **TINY).build_objectives()) == set(second.loss.objectives)
    assert METHODS["safa_mining"].recipes["paper_offset"].next_stage is None


def test_a_polar_transform_is_refused():
    with pytest.raises(UserError, match="no polar transform fits"):
        create_model("vigor", polar=True, pretrained=False)
