"""Padding as TensorFlow's, against a convolution written out in its order."""

import numpy as np
import pytest
import torch
from tensorflow_network import convolve

from geodtr_plugin.layers import SameConv2d


@torch.no_grad()
@pytest.mark.parametrize("size", [(7, 39), (16, 16), (8, 5), (1, 2)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (4, 2), (3, 1), (1, 1), (1, 2)])
def test_outputs_equal_tensorflows(size, kernel, stride):
    layer = SameConv2d(2, 3, kernel, stride)
    x = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(1))
    expected = convolve(x.permute(0, 2, 3, 1).numpy(), layer.weight.permute(2, 3, 1, 0).numpy(), stride)
    expected = expected + layer.bias.numpy()
    assert expected.shape[1:3] == tuple(-(-side // stride) for side in size)
    np.testing.assert_allclose(layer(x).permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
