"""Weights of TensorFlow: SAFA from random arrays in TensorFlow's layout equals the network computed in its own order,
channels last and blue, green, red, in plain operations of numpy."""

import numpy as np
import pytest
import torch
from torch import nn

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import tensorflow
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.utils.errors import DamagedFileError, UserError

SIZES = {"grd": (20, 54), "sat": (40, 36)}  # maps of 1 x 2 and 2 x 2, by poolings that round up
POSITIONS = {"grd": 1 * 2, "sat": 2 * 2}
WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}
MEAN_BGR = np.array([103.939, 116.779, 123.6], np.float32)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Variables of the authors' checkpoint for the small sizes, and what their optimizer leaves among them."""
    random, found = np.random.default_rng(1), {}

    def draw(name: str, *shape: int, spread: float) -> None:
        found[name] = (spread * random.standard_normal(shape)).astype(np.float32)

    for view, n in POSITIONS.items():
        inputs = 3
        for block, widths in WIDTHS.items():
            for i, width in enumerate(widths, start=1):
                scope = f"VGG_{view}/conv{block}_{i}"
                draw(f"{scope}/weights", 3, 3, inputs, width, spread=(2 / 9 / inputs) ** 0.5)
                draw(f"{scope}/biases", width, spread=0.05)
                inputs = width
        for i, shape in ((1, (n, n // 2)), (2, (n // 2, n))):
            draw(f"spatial_{view}/weights{i}", *shape, 8, spread=shape[0] ** -0.5)
            draw(f"spatial_{view}/biases{i}", 1, shape[1], 8, spread=0.05)
    slots = {f"{name}/{slot}": np.zeros_like(x) for name, x in found.items() for slot in ("Adam", "Adam_1")}
    steps = {"train/beta1_power": np.float32(0.5), "beta2_power": np.array(0.9), "Variable": np.array(7, np.int32)}
    return found | slots | {name: np.asarray(x) for name, x in steps.items()}


@pytest.fixture(scope="module")
def model():
    with torch.device("meta"):
        model = create_model("safa", pretrained=False, query_size=SIZES["grd"], reference_size=SIZES["sat"])
    return model.to_empty(device="cpu").eval()


def embedding(arrays: dict[str, np.ndarray], images: np.ndarray, view: str) -> np.ndarray:
    """[B, H, W, 3] of 0 to 255, blue, green, red -> [B, 8 * 512], head by head."""
    x = images - MEAN_BGR
    for block, widths in WIDTHS.items():
        for i in range(1, len(widths) + 1):
            scope = f"VGG_{view}/conv{block}_{i}"
            x = np.maximum(convolve(x, arrays[f"{scope}/weights"]) + arrays[f"{scope}/biases"], 0)
        x = pool(x)
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height * width, channels)
    w = {name: arrays[f"spatial_{view}/{name}"] for name in ("weights1", "biases1", "weights2", "biases2")}
    hidden = np.einsum("bi,ijd->bjd", x.mean(axis=-1), w["weights1"]) + w["biases1"]
    masks = np.einsum("bjd,jid->bid", hidden, w["weights2"]) + w["biases2"]
    flat = np.einsum("bic,bid->bdc", x, masks).reshape(batch, -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def convolve(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3 x 3, same size: a sum over the nine neighbours."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    return sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def pool(x: np.ndarray) -> np.ndarray:
    """Maxima of 2 x 2; an odd side gets one more row or column, which no maximum takes."""
    x = np.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)), constant_values=-1)
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


@torch.no_grad()
def test_safa_equals_the_network_in_tensorflows_order(model, arrays):
    load_author_weights(model, arrays)
    random = np.random.default_rng(2)
    for view, embed in (("grd", model.encode_query), ("sat", model.encode_reference)):
        rgb = random.integers(0, 256, (2, *SIZES[view], 3)).astype(np.float32)
        expected = embedding(arrays, rgb[..., ::-1], view)
        images = torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255
        images = (images - torch.tensor(model.mean).view(3, 1, 1)) / torch.tensor(model.std).view(3, 1, 1)
        found = embed(images).unflatten(1, (512, 8)).transpose(1, 2).flatten(1)  # ours go channel by channel
        assert np.abs(found.numpy() - expected).max() < 1e-4
        assert np.abs(expected[0] - expected[1]).max() > 1e-3  # the images matter


def test_a_file_of_arrays_fills_every_parameter(model, arrays, tmp_path):
    load_author_weights(model, arrays)
    expected = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    np.savez(tmp_path / "safa.npz", **{f"{name}:0": x for name, x in arrays.items()})
    for load in (load_author_weights, load_weights):  # the second tells the authors' files from ours
        for parameter in model.parameters():
            nn.init.constant_(parameter, float("nan"))
        load(model, tmp_path / "safa.npz")
        assert all(torch.equal(tensor, expected[key]) for key, tensor in model.state_dict().items())


def test_faults_are_named(model, arrays, tmp_path):
    def loaded(changes: dict):
        load_author_weights(model, {name: x for name, x in (arrays | changes).items() if x is not None})

    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match="Missing: spatial_sat/weights2. Not known to the model: none"):
        loaded({"spatial_sat/weights2": None, "spatial_sat/weights2/Adam": None, "spatial_sat/weights2/Adam_1": None})
    with pytest.raises(UserError, match="Not known to the model: fc/weights"):
        loaded({"fc/weights": np.zeros((2, 2), np.float32)})
    with pytest.raises(UserError, match=r"query_tower.trunk.0.weight is \(64, 4, 3, 3\) there"):
        loaded({"VGG_grd/conv1_1/weights": np.zeros((3, 3, 4, 64), np.float32)})
    with pytest.raises(UserError, match=r"query_tower.trunk.2.weight is \(64, 64\) there"):
        loaded({"VGG_grd/conv1_2/weights": np.zeros((64, 64), np.float32)})
    if np.dtype(np.longdouble).itemsize > 8:  # numpy has such numbers on some machines, torch on none
        with pytest.raises(UserError, match="numbers of the type .*float32"):
            loaded({"VGG_grd/conv1_1/biases": np.zeros(64, np.longdouble)})
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_files_that_are_none_are_named(model, arrays, tmp_path):
    np.savez(tmp_path / "pickled.npz", **arrays, options=np.array([Harmful()], dtype=object))
    with pytest.raises(UserError, match="holds more than arrays of numbers"):
        load_author_weights(model, tmp_path / "pickled.npz")
    np.savez(tmp_path / "good.npz", **arrays)
    content = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "changed.npz").write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    for name in ("cut.npz", "changed.npz"):
        with pytest.raises(DamagedFileError, match="damaged or cut short"):
            load_author_weights(model, tmp_path / name)
    for name in ("model.ckpt.index", "model.ckpt.meta", "model.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"anything")
        with pytest.raises(UserError, match="checkpoint of TensorFlow.*npz"):
            load_author_weights(model, tmp_path / name)
    with pytest.raises(UserError, match="checkpoint of TensorFlow.*npz"):
        load_author_weights(model, tmp_path / "model.ckpt")


def test_layouts_follow_the_type_of_the_module():
    model = nn.Module()
    model.query_tower = nn.Sequential(nn.Conv2d(5, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose2d(4, 7, 3))
    model.reference_tower = nn.Sequential(nn.Linear(3, 4), nn.Conv2d(3, 6, 1))
    theirs = {
        "query_tower.0.weight": torch.randn(3, 3, 5, 2), "query_tower.1.running_mean": torch.randn(2),
        "query_tower.2.weight": torch.randn(3, 3, 7, 4), "reference_tower.0.weight": torch.randn(3, 4),
        "reference_tower.1.weight": torch.randn(1, 1, 3, 6),
    }  # fmt: skip
    ours = tensorflow.to_our_layout(model, theirs)
    assert all(tensor.shape == model.state_dict()[key].shape for key, tensor in ours.items())
    x = theirs["query_tower.0.weight"]
    for ours_channel, channel in enumerate((2, 1, 0, 3, 4)):  # colours turned round, further maps as they are
        assert torch.equal(ours["query_tower.0.weight"][1, ours_channel, 0, 2], x[0, 2, channel, 1])
    assert torch.equal(ours["query_tower.1.running_mean"], theirs["query_tower.1.running_mean"])
    assert torch.equal(ours["reference_tower.0.weight"][3, 1], theirs["reference_tower.0.weight"][1, 3])
    assert torch.equal(ours["reference_tower.1.weight"][4, 0, 0, 0], theirs["reference_tower.1.weight"][0, 0, 2, 4])
    y = torch.randn(1, 4, 2, 2)  # a transposed convolution spreads each number over its neighbours
    spread = torch.einsum("bihw,jkoi->bohwjk", y, theirs["query_tower.2.weight"])
    expected = sum(
        nn.functional.pad(spread[..., j, k], (k, 2 - k, j, 2 - j)) for j in range(3) for k in range(3)
    )  # fmt: skip
    torch.testing.assert_close(nn.functional.conv_transpose2d(y, ours["query_tower.2.weight"]), expected)


def test_numbers_in_other_orders_of_bytes_and_axes_are_read():
    swapped = np.arange(6, dtype=">f4").reshape(2, 3)[:, ::-1]
    found = tensorflow.as_tensors({"x": swapped, "graph": np.array(b"text")})
    assert list(found) == ["x"] and found["x"].tolist() == [[2, 1, 0], [5, 4, 3]]
