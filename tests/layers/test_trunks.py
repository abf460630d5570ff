import pytest
import torch

from geodtr_plugin.layers import build_trunk, feature_size
from geodtr_plugin.utils.errors import UserError

SHAPES = [  # the authors' feature maps
    ("convnext_tiny", (122, 671), (384, 7, 41)),
    ("convnext_tiny", (256, 256), (384, 16, 16)),
    ("convnext_tiny", (320, 640), (384, 20, 40)),
    ("resnet34", (122, 671), (512, 8, 42)),
    ("resnet34", (256, 256), (512, 16, 16)),
    ("tiny", (32, 88), (96, 4, 11)),
    ("resnet18", (64, 96), (256, 4, 6)),
    ("timm/convnext_tiny", (64, 96), (384, 4, 6)),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, image_size, expected", SHAPES)
def test_feature_maps_have_the_published_shapes(name, image_size, expected):
    trunk = build_trunk(name, pretrained=False)
    assert feature_size(trunk, image_size) == expected


def test_the_computed_shape_is_that_of_a_real_forward_pass_and_changes_nothing():
    trunk = build_trunk("tiny", pretrained=False).train()
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    shape = feature_size(trunk, (37, 91))  # no multiple of the stride
    assert trunk.training
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk.state_dict().items())
    assert tuple(trunk(torch.rand(1, 3, 37, 91)).shape[1:]) == shape


def test_an_unknown_trunk_is_answered_with_the_nearest_known_one():
    with pytest.raises(UserError, match="Did you mean 'resnet50'"):
        build_trunk("resnet5o", pretrained=False)


def test_weights_that_cannot_be_downloaded_give_a_sentence(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/nonexistent")
    with pytest.raises(UserError, match="--model.pretrained false"):
        build_trunk("resnet34", pretrained=True)
