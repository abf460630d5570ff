"""Convolutions of generative adversarial networks: first weights, and spectral normalisation in full precision."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..utils.precision import full_precision

INITIAL_STD = 0.02  # of all kernels, as in pix2pix


class FullPrecisionWeight(nn.Conv2d):
    """A convolution whose weights are computed in full precision, also where bfloat16 autocast runs the network.

    The largest singular value of a normalised kernel is estimated in many small steps, one a pass, which bfloat16
    would round off.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, H', W']`."""
        with full_precision(x.device):
            weight = self.weight
        return self._conv_forward(x, weight, self.bias)


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

    Source: Miyato et al., ICLR 2018 (spectral normalisation); Isola et al., CVPR 2017 (first weights).
    """
    padding = kernel // 2 if padding is None else padding
    mode = "reflect" if reflect and padding else "zeros"
    conv = FullPrecisionWeight(inputs, outputs, kernel, stride, padding, bias=bias, padding_mode=mode)
    nn.init.normal_(conv.weight, std=INITIAL_STD)
    if bias:
        nn.init.zeros_(conv.bias)
    return spectral_norm(conv) if spectral else conv
