"""DSM. Its authors' TensorFlow code does not run here, so that `network` stands for it: the published description in
plain tensor operations on arrays in TensorFlow's layout, padded as TensorFlow pads, written without our layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights, recall
from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import model_settings
from geodtr_plugin.layers import CircularConv2d
from geodtr_plugin.losses import SoftMarginTripletLoss
from geodtr_plugin.utils.errors import UserError

VGG = [("conv1", 64, 2), ("conv2", 128, 2), ("conv3", 256, 3), ("conv4", 512, 3)]
HEAD = [("conv_dim_reduct_1", 256, 2), ("conv5_dim_reduct_2", 64, 2), ("conv5_dim_reduct_3", 16, 1)]
MEAN = torch.tensor([103.939, 116.779, 123.6])  # blue, green, red
TINY = dict(query_size=(32, 96), backbone="tiny", pretrained=False)


@pytest.mark.parametrize("columns, shape", [(512, (4, 64, 16)), (256, (4, 32, 16)), (99, (4, 13, 16))])
def test_sizes_equal_the_authors(columns, shape):
    with torch.device("meta"):
        model = create_model("dsm", pretrained=False, query_size=(128, columns), reference_size=(128, 512))
    assert sum(p.numel() for p in model.parameters()) == 17_943_840
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 17_943_840 - 2 * 1_735_488
    assert model.query_tower.shape == shape and model.reference_tower.shape == (4, 64, 16)
    assert model.embedding_size == model.embedding_size_of("reference") == 4096
    assert model.embedding_size_of("query") == int(np.prod(shape))
    assert model.distance.fov == 360 * columns / 512


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Variables as in the authors' checkpoints."""
    random, found = np.random.default_rng(0), {}

    def draw(scope: str, inputs: int, outputs: int) -> int:
        spread = (2 / 9 / inputs) ** 0.5
        found[f"{scope}/weights"] = (spread * random.standard_normal((3, 3, inputs, outputs))).astype(np.float32)
        found[f"{scope}/biases"] = (0.05 * random.standard_normal(outputs)).astype(np.float32)
        return outputs

    for view in ("grd", "sat"):
        inputs = 3
        for block, width, count in VGG:
            for i in range(1, count + 1):
                inputs = draw(f"VGG_{view}/{block}_{i}", inputs, width)
        for name, width, _ in HEAD:
            inputs = draw(f"VGG_{view}/{view}/{name}", inputs, width)
    return found


def convolution(arrays: dict[str, np.ndarray], scope: str, x: Tensor, stride: int, circular: bool) -> Tensor:
    """3 x 3 on `[B, H, W, C]`; strides are of rows alone."""
    kernel = torch.from_numpy(arrays[f"{scope}/weights"])
    if circular:
        x = torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2)
        above = below = 1
    else:
        x = F.pad(x, (0, 0, 1, 1))
        missing = (-(-x.shape[1] // stride) - 1) * stride + 3 - x.shape[1]
        above, below = missing // 2, missing - missing // 2
    x = F.pad(x, (0, 0, 0, 0, above, below))
    rows, columns = range(0, x.shape[1] - 2, stride), x.shape[2] - 2
    y = sum(
        x[:, i : i + rows[-1] + 1 : stride, j : j + columns] @ kernel[i, j] for i in range(3) for j in range(3)
    )  # fmt: skip
    return y + torch.from_numpy(arrays[f"{scope}/biases"])


def network(arrays: dict[str, np.ndarray], images: Tensor, view: str) -> Tensor:
    """Images [B, H, W, 3] of 0 to 255, blue, green, red -> map [B, h, w, 16], not normalised."""
    x, circular = images - MEAN, view == "sat"
    for block, _, count in VGG:
        for i in range(1, count + 1):
            x = convolution(arrays, f"VGG_{view}/{block}_{i}", x, 1, circular).clamp(min=0)
        if block != "conv4":
            x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2), value=-1)
            x = x.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).amax((2, 4))
    for i, (name, _, stride) in enumerate(HEAD):
        x = convolution(arrays, f"VGG_{view}/{view}/{name}", x, stride, circular)
        x = x.clamp(min=0) if i < 2 else x
    return x


def photographs(count: int, height: int, width: int, seed: int) -> Tensor:
    """Smooth noise of 0 to 255, red, green, blue, `[B, 3, H, W]`, without a seam."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, height // 8, width // 8, generator=generator)
    tripled = F.interpolate(torch.cat([coarse] * 3, dim=3), size=(height, 3 * width), mode="bicubic")
    return 255 * tripled[..., width : 2 * width].clamp(0, 1)


def as_input(model, images: Tensor) -> Tensor:
    return (images / 255 - torch.tensor(model.mean).view(3, 1, 1)) / torch.tensor(model.std).view(3, 1, 1)


@torch.no_grad()
@pytest.mark.parametrize("height, columns", [(64, 256), (64, 128), (64, 50), (72, 50)])
def test_embeddings_headings_and_distances_equal_the_published_description(arrays, height, columns):
    """Half the authors' width, 360, 180 and 70 degrees; 72 rows leave 9, whose halves are padded in another way."""
    aerial, ground = photographs(2, height, 256, 0), photographs(2, height, columns, 1)
    model = create_model("dsm", pretrained=False, query_size=(height, columns), reference_size=(height, 256)).eval()
    load_author_weights(model, arrays)
    query, reference, *_ = model(as_input(model, ground), as_input(model, aerial))
    maps = [network(arrays, x.flip(1).permute(0, 2, 3, 1), view) for x, view in ((ground, "grd"), (aerial, "sat"))]
    for found, expected in zip((query, reference), maps):
        flat = expected.flatten(1)
        torch.testing.assert_close(found, flat / flat.norm(dim=1, keepdim=True), atol=1e-4, rtol=0)
    ground_maps, aerial_maps = maps
    part, distances, shifts = ground_maps.shape[2], torch.empty(2, 2), torch.empty(2, 2)
    for i, one in enumerate(ground_maps / ground_maps.flatten(1).norm(dim=1)[:, None, None, None]):
        for j, other in enumerate(aerial_maps):
            wide = torch.cat([other, other[:, : part - 1]], dim=1)  # the authors' way: slide along the doubled columns
            correlation = torch.stack([(wide[:, k : k + part] * one).sum() for k in range(32)])
            shifts[i, j] = correlation.argmax()
            crop = other.roll(-int(shifts[i, j]), 1)[:, :part]
            distances[i, j] = 2 - 2 * (crop / crop.norm() * one).sum()
    torch.testing.assert_close(model.distance(query, reference), distances, atol=1e-4, rtol=0)
    middle = shifts.diag() * 360 / 32 + 180 * columns / 256 - 180
    difference = model.distance.headings(query, reference) - middle
    assert ((difference + 180) % 360 - 180).abs().max() < 1e-3


def test_authors_names_are_all_known(arrays):
    with torch.device("meta"):
        model = create_model("dsm", pretrained=False)
    assert {model.author_key(key) for key in model.state_dict()} == set(arrays)
    with pytest.raises(UserError, match="none of dsm"):
        create_model("dsm", **TINY).author_key("query_tower.trunk.0.0.weight")


@torch.no_grad()
@pytest.mark.parametrize("columns", [512, 256, 99])
def test_headings_of_rolled_panoramas_are_right_to_a_bin(columns):
    """Towers of equal weights see the same in a panorama and in a polar map that is like it, but for their edges.

    Of 40 rows they make maps of 5, which both pad alike. What all columns have in common is taken out.
    """
    torch.manual_seed(0)
    model = create_model("dsm", pretrained=False, query_size=(40, columns), reference_size=(40, 512)).eval()
    aerial = photographs(4, 40, 512, 0)
    last = model.reference_tower.narrow3
    seen = []
    last.register_forward_hook(lambda *call: seen.append(call[-1]))
    model.encode_reference(as_input(model, aerial))
    last.bias -= seen[0].mean((0, 2, 3))
    model.query_tower.load_state_dict(model.reference_tower.state_dict())
    starts = [0, 8, 200, 411]  # where the query begins, in pixels; a bin has 8
    ground = torch.stack([x.roll(-start, 2)[..., :columns] for x, start in zip(aerial, starts)])
    query, reference, *_ = model(as_input(model, ground), as_input(model, aerial))
    true = torch.tensor([(start + columns / 2 - 256) * 360 / 512 for start in starts])
    error = (model.distance.headings(query, reference) - true + 180) % 360 - 180
    assert error.abs().max() <= 5.625
    assert torch.equal(model.distance(query, reference).argmin(1), torch.arange(4))


@torch.no_grad()
def test_a_turned_tile_has_a_turned_map():
    torch.manual_seed(0)
    model = create_model("dsm", **TINY).eval()
    assert sum(isinstance(m, CircularConv2d) for m in model.reference_tower.modules()) == 10
    assert not any(isinstance(m, CircularConv2d) for m in model.query_tower.modules())
    images = torch.randn(2, 3, 32, 96)
    as_it_is, turned = (model.encode_reference(x).unflatten(1, (1, 12, 16)) for x in (images, images.roll(24, 3)))
    torch.testing.assert_close(turned, as_it_is.roll(3, 2), atol=1e-5, rtol=0)


@torch.no_grad()
def test_aligned_maps_are_ordinary_embeddings():
    torch.manual_seed(0)
    options = TINY | dict(query_size=(32, 40), reference_size=(32, 96))
    free, aligned = create_model("dsm", **options).eval(), create_model("dsm", **options, aligned=True).eval()
    aligned.load_state_dict(free.state_dict())
    assert aligned.distance is None and isinstance(free.distance, CircularCorrelation)
    query, reference = torch.randn(2, 3, 32, 40), torch.randn(2, 3, 32, 96)
    found, whole = aligned(query, reference), free(query, reference)
    assert found.query.shape == found.reference.shape == (2, aligned.embedding_size) == (2, 80)
    torch.testing.assert_close(found.query, whole.query)
    middle = whole.reference.unflatten(1, (12, 16))[:, 3:8].flatten(1)  # 5 of 12 columns
    torch.testing.assert_close(found.reference, F.normalize(middle, dim=1))


@pytest.mark.parametrize(
    "words, aligned",
    [
        ("", True), ("--fov 180", False), ("--fov 180 --view.heading fixed", True), ("--model.aligned false", False),
        ("--fov 180 --model.aligned true", True),
    ],
)  # fmt: skip
def test_the_harness_says_whether_headings_are_known(words, aligned):
    config = settings(f"--method dsm --train synth-suburb --recipe laptop {words}")
    assert model_settings(config)["aligned"] is aligned
    config = settings(f"--method safa --train synth-suburb --recipe laptop {words.replace('--model.aligned true', '')}"
                      .replace("--model.aligned false", ""))  # fmt: skip
    assert "aligned" not in model_settings(config)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(query_size=(32, 104), reference_size=(32, 96)), "does not fit into a reference's of 1 x 12"),
        (dict(query_size=(32, 96), reference_size=(64, 96)), "does not fit"),
        (dict(query_size=(32, 96), backbone="vit_tiny_patch16_224"), "no convolution with padding"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        create_model("dsm", **TINY | options)


def rolled_pairs(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Polar maps without a seam, negatives of them that begin at any bin, in other colours, and where these look."""
    coarse = torch.randn(count, 3, 4, 12, generator=generator)
    aerial = F.interpolate(torch.cat([coarse] * 3, 3), size=(32, 288), mode="bilinear")[..., 96:192]
    bins = torch.randint(12, (count,), generator=generator)
    ground = torch.stack([x.roll(-8 * int(k), 2) for x, k in zip(aerial, bins)])
    return -ground.flip(1), aerial, 30.0 * bins


@pytest.mark.slow
def test_it_learns_places_and_headings_from_turned_panoramas():
    """Nobody tells it headings, and no batch comes twice."""
    torch.manual_seed(0)
    model, generator = create_model("dsm", **TINY), torch.Generator().manual_seed(0)
    loss, optimizer = SoftMarginTripletLoss(distance=model.distance), torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(40):
        query, reference, *_ = model(*rolled_pairs(24, generator)[:2])
        optimizer.zero_grad()
        loss(query, None, ref_emb=reference).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    ground, aerial, headings = rolled_pairs(64, generator)
    with torch.no_grad():
        query, reference, *_ = model.eval()(ground, aerial)
    assert recall(query, reference, distance=model.distance)["recall_at_1"] > 0.9
    error = (model.distance.headings(query, reference) - headings + 180) % 360 - 180
    assert (error.abs() < 1).float().mean() > 0.9 and (error.abs() < 31).float().mean() > 0.95
