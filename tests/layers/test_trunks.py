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


@pytest.mark.slow
@pytest.mark.parametrize("image_size", [(64, 96), (61, 131)])
@pytest.mark.parametrize(
    "name, channels, stride",
    [("vit_tiny_patch16_224", 192, 16), ("deit_tiny_distilled_patch16_224", 192, 16),
     ("swin_tiny_patch4_window7_224", 384, 16), ("mambaout_femto", 192, 16), ("convnext_atto", 160, 16),
     ("resnet18", 256, 16), ("efficientnet_b0", 112, 16), ("vit_small_patch32_224", 384, 32)],
)  # fmt: skip
def test_trunks_of_timm_are_built_for_the_size_of_the_images(name, channels, stride, image_size):
    trunk = build_trunk(name, False, image_size)
    features = trunk.eval()(torch.rand(2, 3, *image_size))
    assert tuple(features.shape[1:]) == feature_size(trunk, image_size)
    assert features.shape[:2] == (2, channels)
    for pixels, positions in zip(image_size, features.shape[2:]):
        assert pixels // stride <= positions <= -(-pixels // stride)


@pytest.mark.slow
def test_a_transformer_is_not_cut_before_its_last_block():
    net = build_trunk("vit_tiny_patch16_224", False, (32, 64)).net
    assert len(net.model.blocks) == 12


@pytest.mark.slow
def test_a_transformer_for_two_sizes_takes_both():
    trunk = build_trunk("vit_tiny_patch16_224", False, (32, 96), (64, 64))
    assert feature_size(trunk, (32, 96)) == (192, 2, 6) and feature_size(trunk, (64, 64)) == (192, 4, 4)


@pytest.mark.slow
def test_a_trunk_that_cannot_take_the_images_says_which_it_can():
    with pytest.raises(UserError, match="cannot be built for images of 50x90 pixels; it was made for 224x224"):
        build_trunk("levit_128s", False, (50, 90))
    with pytest.raises(ValueError, match="takes no images of 32x96"):
        feature_size(build_trunk("vit_tiny_patch16_224", False), (32, 96))


def test_the_weights_of_a_seed_do_not_depend_on_the_tries():
    trunks = []
    for sizes in ((), ((64, 96),)):
        torch.manual_seed(0)
        trunks.append(build_trunk("convnext_atto", False, *sizes))
    first, second = (trunk.state_dict() for trunk in trunks)
    assert all(torch.equal(first[name], second[name]) for name in first)


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


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_stages_behind_the_map_are_gone_and_not_missed(name):
    import timm

    torch.manual_seed(1)
    whole = timm.create_model(name, features_only=True, out_indices=(3,)).eval()
    torch.manual_seed(1)
    trunk = build_trunk(name, False).eval()
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(trunk(images), whole(images)[0])
    trunk(images).sum().backward()
    assert all(parameter.grad is not None for parameter in trunk.parameters())
    gone = {f"net.{key}" for key in whole.state_dict()} - set(trunk.state_dict())
    assert gone and all(key.startswith(trunk.dropped) for key in gone)
    assert not any(key.startswith(trunk.dropped) for key in trunk.state_dict())
