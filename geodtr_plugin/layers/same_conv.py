"""A convolution that pads as TensorFlow's `SAME` does."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """A convolution of ceil(size / stride) outputs, padded by zeros as TensorFlow pads.

    What does not divide evenly is padded below and on the right: with a kernel of 3 and a stride of 2, an even side
    gets nothing before and one after it, where torch's `padding=1` would shift every output by a pixel.

    Args:
        inputs, outputs: channels.
        kernel, stride: sides of squares.
        bias: add one number to each channel.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = True):
        super().__init__(inputs, outputs, kernel, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, ceil(H / stride), ceil(W / stride)]`."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads = []
        for size in (x.shape[3], x.shape[2]):  # as F.pad wants them: the last axis first
            missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            pads += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(x, pads))
