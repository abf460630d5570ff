"""Convolutions over the full turn: a roll of the input rolls the output, and nothing else about a network changes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from geodtr_plugin.layers import CircularConv2d, build_trunk, wrap_columns


@pytest.mark.parametrize("stride, groups, dilation, bias", [(1, 1, 1, True), (2, 2, 1, False), ((2, 1), 1, 2, True)])
def test_it_is_a_convolution_of_the_picture_continued(stride, groups, dilation, bias):
    plain = nn.Conv2d(4, 6, (3, 5), stride, (1, 2), dilation, groups, bias)
    (circular,) = wrap_columns(nn.Sequential(plain))
    assert type(circular) is CircularConv2d and circular.weight is plain.weight and circular.bias is plain.bias
    x = torch.randn(2, 4, 7, 12)
    continued = torch.cat([x[..., -2:], x, x[..., :2]], dim=3)
    step = (stride, stride) if isinstance(stride, int) else stride
    expected = F.conv2d(continued, plain.weight, plain.bias, step, (1, 0), dilation, groups)
    torch.testing.assert_close(circular(x), expected)


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny", "resnet34"])
def test_a_trunk_turns_with_its_picture(name):
    trunk = build_trunk(name, pretrained=False).eval()
    before = {key: tensor.clone() for key, tensor in trunk.state_dict().items()}
    x = torch.randn(1, 3, 32, 64)
    plain = trunk(x)
    assert wrap_columns(trunk) is trunk and trunk.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in trunk.state_dict().items())
    seen, stride = trunk(x), 64 // plain.shape[3]
    assert seen.shape == plain.shape and not torch.allclose(seen, plain, atol=1e-3), "seams are seen otherwise"
    torch.testing.assert_close(trunk(x.roll(2 * stride, 3)), seen.roll(2, 3), atol=1e-4, rtol=1e-4)


def test_a_network_without_padding_is_refused():
    with pytest.raises(ValueError, match="no convolution with padding"):
        wrap_columns(nn.Sequential(nn.Conv2d(3, 4, 16, 16), nn.ReLU()))
