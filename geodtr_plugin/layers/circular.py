"""Convolutions over images of the full turn, whose first column follows the last one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class CircularConv2d(nn.Conv2d):
    """A convolution that pads columns with those of the other side, and rows with zeros; arguments are `nn.Conv2d`'s.

    A roll of the input by a multiple of the stride rolls the output.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, h, w]`, as a convolution of this padding does."""
        rows, columns = self.padding
        x = F.pad(x, (columns, columns, 0, 0), mode="circular")
        return F.conv2d(x, self.weight, self.bias, self.stride, (rows, 0), self.dilation, self.groups)


def wrap_columns(network: nn.Module) -> nn.Module:
    """Make all convolutions of a network circular, and return it; weights stay, also as they are named.

    Raises:
        ValueError: the network has no convolution to which that makes a difference.
    """
    padded = [
        (module, name, child)
        for module in network.modules()
        for name, child in module.named_children()
        if type(child) is nn.Conv2d and isinstance(child.padding, tuple) and child.padding[1]
    ]
    if not padded:
        raise ValueError("the trunk has no convolution with padding, and cannot see an image as a full turn")
    for module, name, child in padded:
        setattr(module, name, _circular(child))
    return network


def _circular(convolution: nn.Conv2d) -> CircularConv2d:
    """Return the circular twin of a convolution, with its weights."""
    c = convolution
    twin = CircularConv2d(
        c.in_channels, c.out_channels, c.kernel_size, c.stride, c.padding, c.dilation, c.groups, device="meta"
    )
    twin.weight, twin.bias = c.weight, c.bias
    return twin.train(c.training)
