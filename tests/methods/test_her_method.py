"""HER: sizes, names and embeddings of the authors' network, computed in plain operations from a state dict of it."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.losses import NetworkBatch, TurnObjective
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False, dim=16)
SIZES = {"query": (72, 136), "reference": (128, 64)}  # maps of 3 x 5, both odd, and 4 x 2, both even
STAGES = (64, 128, 256, 512)


def on_meta(**options):
    with torch.device("meta"):
        return create_model("her", pretrained=False, **options)


@pytest.mark.parametrize(("backbone", "blocks"), [("fcanet18", (2, 2, 2, 2)), ("fcanet34", (3, 4, 6, 3))])
def test_sizes_equal_the_authors(backbone, blocks):
    resnet = {"fcanet18": 11_176_512, "fcanet34": 21_284_672}[backbone]
    attention = sum(n * (c * c // 8 + 2 * (9 + 25 + 49) + 3 + 4) for n, c in zip(blocks, STAGES))
    context = 512 * 128 * (9 + 25 + 49) + 3 * 128 + 3 * 128 + 1
    maps = 1024 * (512 * 4 * 20 + 1) + 1024 * (512 * 8 * 8 + 1)
    expected = 2 * (resnet + attention + context) + maps + 2048 * 100 + 100 + 100 * 2 + 2
    model = on_meta(backbone=backbone)
    assert count_parameters(model) == expected == {"fcanet18": 109_115_008, "fcanet34": 129_474_384}[backbone]
    assert (model.reference_size, model.embedding_size) == ((512, 512), 1024)


def authors_shapes(cells: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' FCANet-18; the aerial view's parts end in _p."""
    shapes = {}

    def convolution(name, out, inputs, side, bias):
        shapes[f"{name}.weight"] = (out, inputs, side, side)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    def norm(name, width):
        names = ("weight", "bias", "running_mean", "running_var")
        shapes.update({f"{name}.{part}": (width,) for part in names} | {f"{name}.num_batches_tracked": ()})

    for p, view in (("", "query"), ("_p", "reference")):
        convolution(f"conv1{p}", 64, 3, 7, False)
        norm(f"bn1{p}", 64)
        inputs = 64
        for stage, width in enumerate(STAGES, start=1):
            for block in range(2):
                name = f"layer{stage}{p}.{block}"
                convolution(f"{name}.conv1", width, inputs, 3, False)
                convolution(f"{name}.conv2", width, width, 3, False)
                norm(f"{name}.bn1", width)
                norm(f"{name}.bn2", width)
                convolution(f"{name}.FCAM.conv_down", width // 16, width, 1, False)
                convolution(f"{name}.FCAM.conv_up", width, width // 16, 1, False)
                for i, side in enumerate((3, 5, 7), start=1):
                    convolution(f"{name}.FCAM.conv_local{i}", 1, 2, side, True)
                convolution(f"{name}.FCAM.conv_rw", 1, 3, 1, True)
                if inputs != width:
                    convolution(f"{name}.downsample.0", width, inputs, 1, False)
                    norm(f"{name}.downsample.1", width)
                inputs = width
        for i, side in enumerate((3, 5, 7), start=1):
            convolution(f"rw_emb_CVUSA{p}.conv_local{i}", 128, 512, side, True)
        convolution(f"rw_emb_CVUSA{p}.conv_rw", 1, 384, 1, True)
        shapes |= {f"featVec_CVUSA{p}.weight": (16, 512 * cells[view]), f"featVec_CVUSA{p}.bias": (16,)}
    shapes |= {"angle_fc8.weight": (100, 32), "angle_fc8.bias": (100,), "angle_fc9.weight": (2, 100)}
    return shapes | {"angle_fc9.bias": (2,)}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if name.endswith("num_batches_tracked"):
            return torch.tensor(3)
        if name.endswith("running_var"):
            return 0.5 + torch.rand(shape, generator=generator)
        spread = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
        centre = 1.0 if ("bn" in name or "downsample.1" in name) and name.endswith(".weight") else 0.0
        return centre + spread * torch.randn(shape, generator=generator)

    cells = {"query": 2 * 3, "reference": 2 * 1}
    return {name: draw(name, shape) for name, shape in authors_shapes(cells).items()}


def vectors(w: dict[str, torch.Tensor], x: torch.Tensor, p: str) -> torch.Tensor:
    """[B, 3, H, W] -> [B, D], not normalised."""

    def norm(x, name):
        mean, var, gamma, beta = (
            w[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gamma + beta

    def local(x, name):
        maps = [F.conv2d(x, w[f"{name}.conv_local{i}.weight"], w[f"{name}.conv_local{i}.bias"], padding=i)
                for i in (1, 2, 3)]  # fmt: skip
        maps = torch.cat(maps, 1).clamp(min=0)
        return torch.sigmoid(F.conv2d(maps, w[f"{name}.conv_rw.weight"], w[f"{name}.conv_rw.bias"]))

    def attended(x, name):
        down, up = w[f"{name}.conv_down.weight"][..., 0, 0], w[f"{name}.conv_up.weight"][..., 0, 0]
        channels = [(values @ down.T).clamp(min=0) @ up.T for values in (x.mean((2, 3)), x.amax((2, 3)))]
        x = x * torch.sigmoid(channels[0] + channels[1])[:, :, None, None]
        return x * local(torch.stack([x.mean(1), x.amax(1)], 1), name)

    x = norm(F.conv2d(x, w[f"conv1{p}.weight"], stride=2, padding=3), f"bn1{p}").clamp(min=0)
    x = F.max_pool2d(x, 3, 2, 1)
    for stage in (1, 2, 3, 4):
        for block in range(2):
            name, stride = f"layer{stage}{p}.{block}", 2 if stage > 1 and block == 0 else 1
            own = norm(F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1").clamp(min=0)
            own = attended(norm(F.conv2d(own, w[f"{name}.conv2.weight"], padding=1), f"{name}.bn2"), f"{name}.FCAM")
            if f"{name}.downsample.0.weight" in w:
                x = norm(F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride), f"{name}.downsample.1")
            x = (own + x).clamp(min=0)
    x = x * local(x, f"rw_emb_CVUSA{p}")
    x = F.max_pool2d(x, 2, 2, padding=0 if p else 1)
    return x.flatten(1) @ w[f"featVec_CVUSA{p}.weight"].T + w[f"featVec_CVUSA{p}.bias"]


@torch.no_grad()
def test_embeddings_and_turns_equal_the_authors(state):
    model = on_meta(query_size=SIZES["query"], reference_size=SIZES["reference"], dim=16).to_empty(device="cpu").eval()
    load_author_weights(model, {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}})
    generator = torch.Generator().manual_seed(2)
    images = {role: torch.randn(3, 3, *size, generator=generator) for role, size in SIZES.items()}
    outputs = model(**images)
    q, r = vectors(state, images["query"], ""), vectors(state, images["reference"], "_p")
    for found, expected in ((outputs.query, q), (outputs.reference, r)):
        expected = expected / expected.norm(dim=1, keepdim=True)
        assert (found - expected).abs().max() < 1e-4 and (expected[0] - expected[1]).abs().max() > 1e-3
    hidden = torch.cat([q, r], 1).clamp(min=0) @ state["angle_fc8.weight"].T + state["angle_fc8.bias"]
    turns = hidden.clamp(min=0) @ state["angle_fc9.weight"].T + state["angle_fc9.bias"]
    assert (outputs.extras["turn"] - turns / turns.norm(dim=1, keepdim=True)).abs().max() < 1e-4
    torch.testing.assert_close(model.encode_query(images["query"]), outputs.query)


def test_names_are_the_authors(state):
    model = on_meta(query_size=SIZES["query"], reference_size=SIZES["reference"], dim=16)
    ours = {model.author_key(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert ours == {name: tuple(tensor.shape) for name, tensor in state.items()}
    with pytest.raises(UserError, match="none of her"):
        load_author_weights(create_model("her", **TINY), {"anything": torch.zeros(1)})


def test_the_objective_is_the_authors():
    generator = torch.Generator().manual_seed(3)
    query, reference, said = (F.normalize(torch.randn(4, n, generator=generator)) for n in (3, 3, 2))
    said.requires_grad_()
    turns = torch.tensor([0, 1, 2, 3])  # clockwise, where the authors' angles go anticlockwise
    batch = NetworkBatch(query, reference, torch.arange(4), [0] * 4, None, {}, turns=turns)
    embeddings = SimpleNamespace(query=query, reference=reference, extras={"turn": said})
    found = TurnObjective()(batch, embeddings)
    total = 0.0
    for i, (sine, cosine) in enumerate([(0, 1), (-1, 0), (0, -1), (1, 0)]):
        error = (said[i, 0] - sine) ** 2 + (said[i, 1] - cosine) ** 2
        for j in range(4):
            z = 50 * float(query[i] @ reference[j] - query[i] @ reference[i])
            weight = math.log2(1 + math.exp(min(z, 0) + 1.875)) if z >= -3.75 else 0.1 / 4
            total = total + (i != j) * weight * error / 16
    torch.testing.assert_close(found, total, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(found, said)
    assert gradient.abs().min() > 0
    still = batch._replace(turns=None)
    right = SimpleNamespace(query=query, reference=reference, extras={"turn": torch.tensor([[0.0, 1.0]] * 4)})
    assert TurnObjective()(still, right).item() == 0


def test_recipes_turn_tiles_and_raise_theta():
    recipe = METHODS["her"].recipes["paper"]
    assert recipe.augment.tiles == "crop+turn" and recipe.loss.schedule == {"theta": [[0, 1.0], [50, 5.0]]}
    assert recipe.loss.objectives == {"turn": 0.5} and recipe.optim.schedule == "linear"
    assert set(on_meta().build_objectives()) == {"turn"} and on_meta(turn_head=False).build_objectives() == {}
