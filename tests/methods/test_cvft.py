"""CVFT: sizes, transport, and equality with the authors' network computed in TensorFlow's order by numpy."""

import numpy as np
import pytest
import torch
from tensorflow_network import Checkpoint, as_input, pictures, unit

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.methods.cvft import FeatureTransport, resize_as_tensorflow, sinkhorn
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), reference_size=(64, 64), backbone="tiny", pretrained=False)
SIZES = {"grd": (33, 150), "sat": (64, 48)}  # maps of 3 x 10 and 4 x 3, halved to 2 x 5 and 2 x 2


def on_meta(**options):
    with torch.device("meta"):
        return create_model("cvft", pretrained=False, **options)


def test_sizes_equal_the_authors():
    model = on_meta()
    assert count_parameters(model) == 30_285_633
    assert (model.reference_size, model.embedding_size, model.query_tower.transport.grid) == ((256, 256), 4096, (8, 8))
    frozen = sum(9 * i * o + o for i, o in zip((3, 64, 64, 128, 128, 256, 256), (64, 64, 128, 128, 256, 256, 256)))
    assert count_parameters(model, trained=True) == 30_285_633 - 2 * frozen


def test_the_grid_follows_from_the_aerial_view():
    assert on_meta(query_size=(320, 640), reference_size=(320, 320)).embedding_size == 64 * 10 * 10
    assert on_meta(polar=True).query_tower.transport.grid == (4, 20)
    assert create_model("cvft", **TINY).query_tower.transport.grid == (4, 4)


@pytest.fixture(scope="module")
def arrays() -> Checkpoint:
    found, cells = Checkpoint(), 2 * 2
    for view in SIZES:
        found.draw_vgg16(f"VGG_{view}")
        found.draw_layer(f"{view}_conv", 3, 3, 512, 64)
    found.draw_layer("ot_grd_branchot_conv", 1, 1, 64, 1)
    found.draw("ot_grd_branchot_fc/weights", cells, cells**2, spread=2e-4)  # scores are in the hundreds
    found["ot_grd_branchot_fc/biases"] = (0.02 * np.eye(cells, dtype=np.float32)).reshape(-1)
    return found


def embedding(arrays: Checkpoint, bgr: np.ndarray, view: str) -> np.ndarray:
    """[B, H, W, 3] of 0 to 255, blue, green, red -> [B, cells * 64]."""
    x = arrays.layer(f"{view}_conv", arrays.vgg16(f"VGG_{view}", bgr, last_pool=False), stride=2)
    if view == "grd":
        x = resized(x, (2, 2))
        scores = arrays.layer("ot_grd_branchot_conv", x).reshape(len(x), -1)
        costs = scores @ arrays["ot_grd_branchot_fc/weights"] + arrays["ot_grd_branchot_fc/biases"]
        logits = -100 * costs.reshape(len(x), 4, 4).astype(np.float64)
        for _ in range(20):
            logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))
            logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
        x = np.einsum("bic,bio->boc", x.reshape(len(x), 4, 64), np.exp(logits))
    return unit(x.reshape(len(x), -1))


def resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """TensorFlow 1's bilinear resizing, pixel by pixel."""
    height, width = x.shape[1:3]
    out = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    for i, j in np.ndindex(*size):
        row, column = i * height / size[0], j * width / size[1]
        r, c = int(row), int(column)
        r1, c1 = min(r + 1, height - 1), min(c + 1, width - 1)
        top = x[:, r, c] + (x[:, r, c1] - x[:, r, c]) * (column - c)
        bottom = x[:, r1, c] + (x[:, r1, c1] - x[:, r1, c]) * (column - c)
        out[:, i, j] = top + (bottom - top) * (row - r)
    return out


@torch.no_grad()
def test_embeddings_equal_the_network_in_tensorflows_order(arrays):
    model = on_meta(query_size=SIZES["grd"], reference_size=SIZES["sat"]).to_empty(device="cpu").eval()
    load_author_weights(model, arrays)
    for view, embed in (("grd", model.encode_query), ("sat", model.encode_reference)):
        rgb = pictures(SIZES[view])
        expected = embedding(arrays, rgb[..., ::-1], view)
        assert np.abs(embed(as_input(rgb, model)).numpy() - expected).max() < 1e-4
        assert np.abs(expected[0] - expected[1]).max() > 1e-3  # the images matter
    plan = model.query_tower.transport.plan(100 * torch.rand(1, 64, 2, 2))
    assert plan.max() < 0.95  # a transport that is none would prove little


def test_names_are_the_authors():
    model = on_meta()
    names = {model.author_key(key): tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    assert len(names) == 2 * 26 + 4 + 4
    assert names["ot_grd_branchot_fc/weights"] == (4096, 64) and names["sat_conv/biases"] == (64,)
    with pytest.raises(UserError, match="none of cvft"):
        load_author_weights(create_model("cvft", **TINY), {"anything": torch.zeros(1)})


@pytest.mark.parametrize(("have", "want"), [((4, 20), (8, 8)), ((7, 39), (3, 50)), ((2, 2), (2, 2)), ((1, 5), (3, 1))])
def test_resizing_is_tensorflows(have, want):
    x = np.random.default_rng(0).standard_normal((2, *have, 3)).astype(np.float32)
    found = resize_as_tensorflow(torch.from_numpy(x).permute(0, 3, 1, 2), want).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found.numpy(), resized(x, want), atol=1e-5)


def test_sinkhorn_makes_doubly_stochastic_matrices():
    plan = sinkhorn(3 * torch.randn(5, 64, 64, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(plan.sum(1), torch.ones(5, 64), atol=1e-3, rtol=0)
    torch.testing.assert_close(plan.sum(2), torch.ones(5, 64), atol=1e-3, rtol=0)


def test_how_transport_starts():
    features = torch.zeros(1, 64, 3, 3)  # then the costs are those that it starts with
    for init, own, others in (("code", 0.0, 1 / 8), ("keep", 1.0, 0.0)):
        plan = FeatureTransport((3, 3), init).plan(features)[0]
        expected = torch.full((9, 9), others).fill_diagonal_(own)
        torch.testing.assert_close(plan, expected, atol=1e-6, rtol=0)
    kept = FeatureTransport((3, 3), "keep")(features := torch.rand(1, 64, 3, 3))
    torch.testing.assert_close(kept, features.flatten(2).transpose(1, 2), atol=0.2, rtol=0)


def test_the_transport_is_computed_in_full_precision():
    model = create_model("cvft", **TINY).eval()
    plans = []
    model.query_tower.transport.register_forward_hook(lambda module, inputs, output: plans.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert model.encode_query(torch.rand(1, 3, 32, 88)).dtype == torch.float32
    assert plans == [torch.float32]


def test_what_cannot_be_is_answered_with_a_sentence():
    with pytest.raises(UserError, match="init is 'stay'; it must be one of code, keep"):
        create_model("cvft", init="stay", **TINY)
    with pytest.raises(UserError, match="2 to 256 cells, and this aerial view has 32 x 32.*reference_size"):
        on_meta(reference_size=(1024, 1024))
    with pytest.raises(UserError, match="2 to 256 cells, and this aerial view has 1 x 1"):
        create_model("cvft", **TINY | dict(reference_size=(16, 16)))
