"""Convolutions of generative adversarial networks: their first weights, and spectral normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

from ..utils.precision import full_precision

INITIAL_STD = 0.02  # of all kernels, as in pix2pix
FIRST_PASSES = 15  # improvements of the estimate before the first use, as many as torch's own normalisation does


class SpectralNorm(nn.Module):
    """Divide a kernel by its largest singular value, whose estimate each pass in training improves by one iteration.

    The same as `torch.nn.utils.spectral_norm`; its successor in `torch.nn.utils.parametrizations` iterates in another
    order, and fails within autocast. Vectors of any length serve, so that averages of models do too.

    Args:
        weight: the kernel `[outputs, ...]` as it begins.

    Source: Miyato et al., ICLR 2018, algorithm 1.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor):
        super().__init__()
        matrix = weight.detach().flatten(1)
        for name, size in zip("uv", matrix.shape):
            self.register_buffer(name, F.normalize(matrix.new_empty(size).normal_(), dim=0))
        for _ in range(0 if weight.is_meta else FIRST_PASSES):
            self.improve(matrix)

    @torch.no_grad()
    def improve(self, matrix: Tensor) -> None:
        """Bring the vectors nearer to those of the largest singular value of `[outputs, N]`."""
        self.v.copy_(F.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(F.normalize(matrix @ self.v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """Map a kernel `[outputs, ...]` to one whose largest singular value is about 1."""
        with full_precision(weight.device):  # bfloat16 would round improvements off
            matrix = weight.flatten(1)
            if self.training:
                self.improve(matrix)
            u, v = F.normalize(self.u, dim=0), F.normalize(self.v, dim=0)  # new ones: the next pass changes those
            return weight / (u @ matrix @ v)


def gan_conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int | None = None, reflect: bool = False,
    bias: bool = True, spectral: bool = True,
) -> nn.Module:  # fmt: skip
    """Build a convolution with first weights from N(0, 0.02^2) and biases of zero.

    Args:
        inputs, outputs: channels.
        kernel, stride: as torch takes them.
        padding: None keeps height and width at stride 1.
        reflect: pad with the mirrored image instead of zeros.
        bias: add a bias to each channel.
        spectral: divide the kernel by its largest singular value.

    Source: Isola et al., CVPR 2017 (first weights); Miyato et al., ICLR 2018.
    """
    padding = kernel // 2 if padding is None else padding
    mode = "reflect" if reflect and padding else "zeros"
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias, padding_mode=mode)
    nn.init.normal_(conv.weight, std=INITIAL_STD)
    if bias:
        nn.init.zeros_(conv.bias)
    if spectral:
        register_parametrization(conv, "weight", SpectralNorm(conv.weight))
    return conv
