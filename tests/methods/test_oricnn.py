"""OriCNN. `embedding` stands for the authors' TensorFlow code: its published description in plain tensor operations on
the state dict, without our layers; `warped` for what their augmentation does to the maps, which this package avoids."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.augmentations import BatchTransform, ImageTransform, Misalignment, PolarTransform
from geodtr_plugin.losses import build_loss
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.methods.oricnn import azimuth_and_distance, polar_azimuth_and_distance, yaw_and_pitch
from geodtr_plugin.miners import CHSG
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(48, 136), reference_size=(64, 64), width=4)
SIZES = {"query": (2, 10), "reference": (4, 4)}  # of the last maps of CVUSA's images


def trained(**options):
    """A small model whose batch normalisations have seen something."""
    torch.manual_seed(0)
    model = create_model("oricnn", **TINY | options)
    with torch.no_grad():
        for conv in model.query_tower.trunk.convs + model.reference_tower.trunk.convs:
            conv.weight *= 20  # with so few channels, the first weights are too small for anything to come through
        for _ in range(3):
            model.train()(*(torch.randn(4, *model.input_shape(role)) for role in ("query", "reference")))
    return model.eval()


def test_parameters_equal_the_authors():
    with torch.device("meta"):
        model = create_model("oricnn")
    statistics = sum(x.numel() for name, x in model.named_buffers() if name.endswith(("running_mean", "running_var")))
    assert count_parameters(model, trained=True) == count_parameters(model) == 30_695_808
    assert count_parameters(model) + statistics == 30_705_536  # a checkpoint of TensorFlow counts them, too
    assert (model.query_size, model.reference_size, model.embedding_size) == ((224, 1232), (512, 512), 1536)
    assert model.input_shape("query") == (5, 224, 1232) and model.input_shape("reference") == (5, 512, 512)
    for role, size in SIZES.items():
        maps = getattr(model, f"{role}_tower").trunk(torch.empty(1, *model.input_shape(role), device="meta"))
        assert [m.shape[1] for m in maps] == [512] * 3 and maps[-1].shape[2:] == size


def embedding(state: dict[str, torch.Tensor], images: torch.Tensor, tower: str, by_batch: bool) -> torch.Tensor:
    """[B, 5, H, W] -> [B, 1536], layer by layer as the authors'."""
    w = {key.removeprefix(f"{tower}.trunk."): tensor for key, tensor in state.items() if key.startswith(tower)}
    x, maps = images, []
    for layer in range(7):
        if layer:
            x = 0.6 * x + 0.4 * x.abs()  # a leaky rectifier of slope 0.2
        pads = []
        for side in x.shape[:1:-1]:  # TensorFlow's SAME: what is missing, half of it before, the larger half behind
            missing = (math.ceil(side / 2) - 1) * 2 + 4 - side
            pads += [missing // 2, missing - missing // 2]
        x = F.conv2d(F.pad(x, pads), w[f"convs.{layer}.weight"], w[f"convs.{layer}.bias"], stride=2)
        if layer:
            n = f"norms.{layer - 1}."
            mean, variance = w[n + "running_mean"], w[n + "running_var"]
            if by_batch:
                mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            x = (x - mean.view(-1, 1, 1)) / (variance.view(-1, 1, 1) + 1e-5).sqrt()
            x = x * w[n + "weight"].view(-1, 1, 1) + w[n + "bias"].view(-1, 1, 1)
        maps.append(x)
    height, width = x.shape[2:]
    pooled = []
    for m in maps[-3:]:
        rows, columns = (
            [p * (size / cells) + (size / cells - 1) / 2 for p in range(cells)]
            for size, cells in ((m.shape[2], height), (m.shape[3], width))
        )
        values = [bilinear(m, row, column) for row in rows for column in columns]
        pooled.append(torch.stack(values, -1).clamp(min=1e-6).pow(3).mean(-1).pow(1 / 3))
    joined = torch.cat(pooled, 1)
    return joined / joined.norm(dim=1, keepdim=True)


def bilinear(m: torch.Tensor, row: float, column: float) -> torch.Tensor:
    """[B, C, h, w] at one point -> [B, C]."""
    result = torch.zeros(m.shape[:2])
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            weight = (1 - abs(row - r)) * (1 - abs(column - c))
            result += weight * m[:, :, min(r, m.shape[2] - 1), min(c, m.shape[3] - 1)]
    return result


@torch.no_grad()
@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("size", [(224, 1232), (48, 136), (33, 89)])
def test_embeddings_equal_the_description(size, statistics):
    side = {224: 512, 48: 64, 33: 65}[size[0]]
    model = trained(query_size=size, reference_size=(side, side), statistics=statistics, width=2)
    batch = {role: torch.randn(3, *model.input_shape(role)) for role in ("query", "reference")}
    outputs, state = model(**batch), model.state_dict()
    for role, images in batch.items():
        expected = embedding(state, images, f"{role}_tower", statistics == "batch")
        assert (getattr(outputs, role) - expected).abs().max() < 1e-5
        assert (expected[0] - expected[1]).abs().max() > 1e-3


@torch.no_grad()
def test_statistics_of_the_batch_are_a_choice_of_the_test_alone():
    model, other = trained(), create_model("oricnn", **TINY, statistics="batch").eval()
    other.load_state_dict(model.state_dict())
    images = torch.randn(4, *model.input_shape("query"))
    assert torch.allclose(model.encode_query(images[:2]), model.encode_query(images)[:2], atol=1e-5)
    assert not torch.allclose(other.encode_query(images[:2]), other.encode_query(images)[:2], atol=1e-3)
    assert torch.allclose(model.train().encode_query(images), other.train().encode_query(images), atol=1e-6)


def test_the_loss_equals_the_description():
    torch.manual_seed(0)
    query, reference = (F.normalize(torch.randn(6, 16), dim=1) for _ in range(2))
    loss = METHODS["oricnn"].recipes["paper"].loss
    labels = torch.arange(6)
    found = build_loss(loss.name, loss.args)(query, labels, ref_emb=reference, ref_labels=labels.clone())
    distance = 2 - 2 * reference @ query.T
    right = distance.diag()
    terms = [math.log(1 + math.exp(10 * (right[i] - distance[j, i]))) for i in range(6) for j in range(6) if i != j]
    terms += [math.log(1 + math.exp(10 * (right[i] - distance[i, j]))) for i in range(6) for j in range(6) if i != j]
    assert float(found) == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_the_panoramas_maps_are_the_authors():
    yaw, pitch = yaw_and_pitch(224, 1232)  # numbers of the file that comes with their code, over pi
    assert torch.equal(yaw[0], yaw[-1]) and torch.equal(pitch[:, 0], pitch[:, -1])
    for column, expected in ((0, -1.0), (1, -0.998375), (615, -0.000812), (616, 0.000812), (1231, 1.0)):
        assert float(yaw[0, column]) == pytest.approx(expected, abs=1e-6)
    for row, expected in ((0, -0.181154), (111, -0.000812), (112, 0.000812), (223, 0.181154)):
        assert float(pitch[row, 0]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", [(512, 512), (65, 65), (40, 60)])
def test_the_tiles_maps_know_north_and_the_rim(size):
    azimuth, distance = azimuth_and_distance(*size)
    height, width = size
    assert azimuth[0, width // 2].abs() < 0.02 and azimuth[height // 2, -1] == pytest.approx(0.5, abs=0.02)
    assert azimuth[height // 2, 0] == pytest.approx(-0.5, abs=0.02)
    assert azimuth[-1, width // 2 - 2] < -0.9 and azimuth[-1, width // 2 + 2] > 0.9  # the seam is in the south
    assert distance[height // 2, width // 2] < -0.9 and distance[0, width // 2] > 0.95
    assert distance[0, 0] == 1 and distance.max() == 1 and azimuth.abs().max() <= 1


def test_the_maps_of_polar_tiles_are_those_of_tiles_unrolled():
    azimuth, distance = azimuth_and_distance(512, 512)
    away = torch.stack([(math.pi * azimuth).cos(), (math.pi * azimuth).sin(), distance])
    north, east, radius = PolarTransform(32, 88)(away[None])[0]
    expected = polar_azimuth_and_distance(32, 88)
    assert ((torch.atan2(east, north) / math.pi - expected[0] + 1) % 2 - 1)[2:-3].abs().max() < 0.01
    assert (radius - expected[1])[2:-2].abs().max() < 0.01


def test_both_views_agree_on_a_direction_under_every_layout():
    """A panorama's column and the tile's pixels in its direction have one azimuth, however both are turned."""
    model = trained(query_size=(8, 64), reference_size=(64, 64))
    views = ImageTransform(8, 64), ImageTransform(64, 64)
    transform = BatchTransform(
        *views, CHSG.variant("l"), model.mean, model.std,
        query_maps=model.input_maps("query"), reference_maps=model.input_maps("reference"),
    )  # fmt: skip
    torch.manual_seed(0)
    query, reference, _ = transform(torch.zeros(16, 3, 8, 64), torch.zeros(16, 3, 64, 64), torch.arange(16))
    tile = azimuth_and_distance(64, 64)[0]  # where a pixel lies in the turned tile
    for column in range(0, 64, 3):
        direction = 2 * (column + 0.5) / 64 - 1
        there = ((tile - direction + 1) % 2 - 1).abs() < 0.02
        missed = (reference[:, 3][:, there] - query[:, 3, 0, column][:, None] + 1) % 2 - 1
        assert missed.abs().max() < 0.06


def warped(azimuth: torch.Tensor, share: float) -> torch.Tensor:
    """[S, S] -> the central share of it, interpolated as if an angle were a length."""
    kept = round(share * len(azimuth) / 2) * 2
    start = (len(azimuth) - kept) // 2
    part = azimuth[None, None, start : start + kept, start : start + kept]
    return F.interpolate(part, [*azimuth.shape], mode="bilinear", align_corners=False)[0, 0]


def test_crops_do_not_smear_the_seam():
    maps = azimuth_and_distance(128, 128)
    smeared = warped(maps[0], 0.75)[70:, 60:68]
    assert (smeared.abs() < 0.8).any()  # directions that are not in the south at all
    torch.manual_seed(0)
    tiles = torch.cat([torch.zeros(3, 128, 128), maps]).expand(32, -1, -1, -1)
    _, found = Misalignment(tiles="crop+turn")(torch.zeros(32, 3, 1, 1), tiles)
    around = torch.stack([found[:, 3, :50, 64], found[:, 3, 78:, 64], found[:, 3, 64, :50], found[:, 3, 64, 78:]], 1)
    nearest_quarter = (around * 2).round() / 2
    assert (around - nearest_quarter).abs().max() < 0.05
    assert {tuple(q.tolist()) for q in nearest_quarter[:, :, 0].abs()} <= {(0.0, 1.0, 0.5, 0.5), (1.0, 0.0, 0.5, 0.5),
                                                                         (0.5, 0.5, 1.0, 0.0), (0.5, 0.5, 0.0, 1.0)}


def tensorflow_arrays(model, seed: int = 0) -> dict[str, np.ndarray]:
    """A checkpoint as the authors' code saves it, with what its optimizer keeps."""
    draw = np.random.default_rng(seed)
    arrays = {"train/beta1_power": np.float32(0.5), "Variable": np.int32(7)}
    for view in ("sat_rgbori", "grd_rgbori"):
        inputs = 5
        for layer in range(1, 8):
            scope, outputs = f"{view}encoder_{layer}", model.query_tower.trunk.convs[layer - 1].out_channels
            arrays[f"{scope}/conv2d/kernel"] = draw.normal(0, 0.1, (4, 4, inputs, outputs)).astype(np.float32)
            arrays[f"{scope}/conv2d/kernel/Adam"] = arrays[f"{scope}/conv2d/kernel"]
            arrays[f"{scope}/conv2d/bias"] = draw.normal(0, 0.1, outputs).astype(np.float32)
            if layer > 1:
                ones = np.ones(outputs, np.float32)
                norm = dict(gamma=ones * 0.9, beta=ones * 0.1, moving_mean=ones * 0, moving_variance=ones)
                arrays |= {f"{scope}/batch_normalization/{name}": x for name, x in norm.items()}
            inputs = outputs
    return arrays


@torch.no_grad()
def test_weights_of_tensorflow_find_their_places():
    model = create_model("oricnn", **TINY, statistics="batch").eval()
    arrays = tensorflow_arrays(model)
    load_author_weights(model, arrays)
    kernel = torch.from_numpy(arrays["grd_rgboriencoder_1/conv2d/kernel"])  # blue, green, red, yaw, pitch
    images = torch.randn(2, *model.input_shape("query"))
    theirs = F.conv2d(F.pad(images[:, [2, 1, 0, 3, 4]], (1, 1, 1, 1)), kernel.permute(3, 2, 0, 1), stride=2)
    bias = torch.from_numpy(arrays["grd_rgboriencoder_1/conv2d/bias"])
    first = model.query_tower.trunk.convs[0](F.pad(images, (1, 1, 1, 1)))
    torch.testing.assert_close(first, theirs + bias.view(-1, 1, 1), atol=1e-5, rtol=0)
    assert model.reference_tower.trunk.norms[5].weight.eq(0.9).all()
    with pytest.raises(UserError, match=r'no running statistics.*statistics="batch"'):
        load_author_weights(create_model("oricnn", **TINY), arrays)
    del arrays["sat_rgboriencoder_7/batch_normalization/gamma"]
    with pytest.raises(UserError, match="Missing: sat_rgboriencoder_7/batch_normalization/gamma"):
        load_author_weights(model, arrays)


def test_without_maps_it_sees_colours_alone():
    model = create_model("oricnn", **TINY, maps=False)
    assert model.input_maps("query") is None and model.input_shape("reference") == (3, 64, 64)
    assert create_model("oricnn", **TINY | dict(polar=True, reference_size=None)).reference_size == (48, 136)
    with pytest.raises(UserError, match="statistics is 'none'"):
        create_model("oricnn", statistics="none")


def test_the_paper_recipe_is_the_authors():
    recipe = METHODS["oricnn"].recipes["paper"]
    assert (recipe.augment.tiles, recipe.augment.panoramas, recipe.augment.chsg) == ("crop+turn", "roll", "raw")
    optim = recipe.optim
    assert (optim.name, optim.lr, optim.batch_size, optim.epochs, optim.schedule) == ("adam", 1e-5, 12, 100, "constant")
