"""The network equals torchvision's layers, which are built here without their 120 M parameters of classifier."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.vgg import cfgs, make_layers

from geodtr_plugin.layers import VGG16, feature_size
from geodtr_plugin.layers.vgg16 import LATE_CONVOLUTIONS, LAYERS
from geodtr_plugin.utils.errors import UserError


@pytest.fixture(scope="module")
def torchvisions():
    return make_layers(cfgs["D"]).eval()


@torch.no_grad()
def test_every_layer_equals_torchvisions(torchvisions):
    trunk = VGG16(LAYERS).eval()
    trunk.load_state_dict(torchvisions.state_dict())
    x = images = torch.randn(2, 3, 33, 50, generator=torch.Generator().manual_seed(1))
    maps = trunk(images)
    assert len(maps) == len(torchvisions) == 31
    for layer, found in zip(torchvisions, maps):  # torchvision's own rectifiers would overwrite their input
        x = F.relu(x) if isinstance(layer, torch.nn.ReLU) else layer(x)
        torch.testing.assert_close(found, x)


@pytest.mark.parametrize(
    "output, ceil_mode, size, expected",
    [
        ("pool5", True, (112, 616), (512, 4, 20)),  # SAFA
        ("pool5", False, (112, 616), (512, 3, 19)),
        ("pool5", True, (256, 256), (512, 8, 8)),
        ("relu5_3", False, (122, 671), (512, 7, 41)),  # its port
        ("relu5_3", True, (122, 671), (512, 8, 42)),
        ("conv5_3", False, (480, 640), (512, 30, 40)),  # NetVLAD
        ("relu4_3", True, (128, 512), (512, 16, 64)),  # DSM
        ("pool3", False, (480, 640), (256, 60, 80)),  # HAF's first map
    ],
)
def test_maps_have_the_published_sizes(output, ceil_mode, size, expected):
    with torch.device("meta"):
        assert feature_size(VGG16(output, ceil_mode=ceil_mode), size) == expected


@torch.no_grad()
def test_several_outputs_come_in_the_order_of_the_network():
    trunk = VGG16(("pool4", "conv3_3", "relu3_3"))
    conv, relu, pool = trunk(torch.rand(1, 3, 32, 32))
    assert len(trunk) == LAYERS.index("pool4") + 1
    assert pool.shape == (1, 512, 2, 2)
    assert conv.min() < 0  # not overwritten by the rectifier
    assert torch.equal(F.relu(conv), relu)


def test_dropout_acts_behind_the_late_convolutions_and_in_training_only():
    trunk, images = VGG16("relu4_1", dropout=0.2), torch.rand(1, 3, 64, 64)
    whole = trunk.eval()(images)
    thinned = trunk.train()(images)
    kept = thinned > 0
    torch.testing.assert_close(thinned[kept], whole[kept] / 0.8)
    assert 0.15 < 1 - kept.sum() / (whole > 0).sum() < 0.25
    early = VGG16("relu3_3", dropout=0.9)
    assert torch.equal(early.train()(images), early.eval()(images))
    assert LATE_CONVOLUTIONS == tuple(f"conv{block}_{i}" for block in (4, 5) for i in (1, 2, 3))


def test_dropout_can_stand_elsewhere():
    trunk, images = VGG16("relu1_2", dropout=0.5, dropout_after=["conv1_1"]), torch.rand(1, 3, 16, 16)
    assert not torch.equal(trunk.train()(images), trunk.eval()(images))


@pytest.mark.parametrize("frozen, trained", [(None, 13), ("pool3", 6), ("relu4_3", 3), ("pool5", 0)])
def test_frozen_layers_get_no_gradient(frozen, trained):
    with torch.device("meta"):
        trunk = VGG16(frozen=frozen)
    convolutions = [layer for layer in trunk if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.weight.requires_grad for layer in convolutions] == [False] * (13 - trained) + [True] * trained
    assert [layer.bias.requires_grad for layer in convolutions] == [False] * (13 - trained) + [True] * trained


@pytest.mark.parametrize("weights, file", [("caffe", "vgg16_features"), ("torchvision", "vgg16-397923af")])
def test_imagenet_weights_are_those_of_the_file(weights, file, monkeypatch, torchvisions):
    def load(url, **_):
        assert file in url
        return {f"features.{key}": tensor for key, tensor in torchvisions.state_dict().items()} | {
            "classifier.0.weight": torch.full((1,), float("nan"))
        }

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    trunk = VGG16("conv3_1", weights)
    assert len(trunk.state_dict()) == 10
    assert all(torch.equal(tensor, torchvisions.state_dict()[key]) for key, tensor in trunk.state_dict().items())


def test_weights_that_cannot_be_downloaded_give_a_sentence(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(UserError, match="VGG16 .caffe.. could not be loaded .no route.*--model.pretrained false"):
        VGG16("conv1_1", "caffe")


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'conv5_3'"):
        VGG16("conv53")
    with pytest.raises(UserError, match="Did you mean 'conv4_1'"):
        VGG16("conv1_1", dropout_after=["conv41"])
    with pytest.raises(UserError, match="weights of VGG16 'cafe'. Did you mean 'caffe'"):
        VGG16("conv1_1", "cafe")
    with pytest.raises(ValueError, match="no output"):
        VGG16(())
