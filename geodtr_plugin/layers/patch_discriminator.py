"""A discriminator of image patches: is this a photograph that belongs to that image?"""

from __future__ import annotations

from torch import Tensor, nn

from .self_attention import SelfAttention
from .spectral import gan_conv

SLOPE = 0.1  # of leaky ReLUs, below zero


class PatchDiscriminator(nn.Module):
    """Judge overlapping patches of 70 x 70 pixels by themselves, and what self-attention tells them of the others.

    Args:
        channels: of the image that is judged and the one that it must belong to, together.
        width: channels of the first layer, at least 4.

    Source: Isola et al., CVPR 2017 (PatchGAN); with spectral normalisation and self-attention as in Toker et al., CVPR
    2021.
    """

    def __init__(self, channels: int = 6, width: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        sizes = [(channels, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 1)]
        for number, (inputs, outputs, stride) in enumerate(sizes):
            layers += [gan_conv(inputs, outputs, 4, stride, 1, spectral=number > 0), nn.LeakyReLU(SLOPE)]
            if number == 1:
                layers.append(SelfAttention(outputs))
        self.layers = nn.Sequential(*layers, gan_conv(8 * width, 1, 4, 1, 1, spectral=False))

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, channels, H, W]` to logits of its patches, `[B, 1, H / 8 - 2, W / 8 - 2]`."""
        return self.layers(images)
