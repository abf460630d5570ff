"""A generator that paints a ground panorama over a polar-transformed tile: residual encoder and decoder with skips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .self_attention import SelfAttention
from .spectral import gan_conv

RESIDUAL_BLOCKS = 6


def reflected(inputs: int, outputs: int, kernel: int) -> nn.Module:
    """Build a convolution with spectral normalisation that mirrors the image beyond its border."""
    return gan_conv(inputs, outputs, kernel, reflect=True)


def instance_norm(channels: int) -> nn.Module:
    """Build a normalisation of each channel of each image, with a learned scale and shift."""
    return nn.GroupNorm(channels, channels)  # torch's InstanceNorm2d is the same, and copies channels-last maps


class DownBlock(nn.Module):
    """Two convolutions, each behind a ReLU, with a shortcut; then the mean of 2 x 2 positions."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1, self.conv2 = reflected(inputs, outputs, 3), reflected(outputs, outputs, 3)
        self.shortcut = reflected(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs, H, W]` to `[B, outputs, H / 2, W / 2]`."""
        y = self.conv2(F.relu(self.conv1(F.relu(x))))
        return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))  # 1 x 1 and mean in the cheaper order


class ResidualBlock(nn.Module):
    """Two normalised convolutions with a ReLU between them, added to what came in."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = (reflected(channels, channels, 3) for _ in range(2))
        self.norm1, self.norm2 = (instance_norm(channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, channels, H, W]` to the same shape."""
        return self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + x


class UpBlock(nn.Module):
    """Two convolutions, each behind a normalisation and a ReLU, on an enlarged map, with a shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm1, self.norm2 = instance_norm(inputs), instance_norm(outputs)
        self.conv1, self.conv2 = reflected(inputs, outputs, 3), reflected(outputs, outputs, 3)
        self.shortcut = reflected(inputs, outputs, 1)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map `[B, inputs, h, w]` to `[B, outputs, *size]`; positions are repeated."""
        y = self.conv1(F.interpolate(F.relu(self.norm1(x)), tuple(size)))
        return self.conv2(F.relu(self.norm2(y))) + F.interpolate(self.shortcut(x), tuple(size))


class PanoramaEncoder(nn.Module):
    """Look at a polar tile: a trunk of stride 8.

    Args:
        width: channels at full size.
        channels: of the result; the authors have 8 times `width`.

    Source: Toker et al., CVPR 2021; layers from the released code.
    """

    def __init__(self, width: int = 32, channels: int = 256):
        super().__init__()
        self.stem = nn.Sequential(reflected(3, width, 7), instance_norm(width))
        sizes = [(width, 2 * width), (2 * width, 4 * width), (4 * width, channels)]
        self.down = nn.ModuleList(nn.Sequential(DownBlock(*size), instance_norm(size[1])) for size in sizes)
        self.residual = nn.Sequential(*[ResidualBlock(channels) for _ in range(RESIDUAL_BLOCKS)])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return maps of `[B, 3, H, W]` at strides 2, 4 and 8, and what becomes of the last: that of `forward`."""
        maps = [self.stem(images)]
        for stage in self.down:
            maps.append(stage(maps[-1]))
        return [*maps[1:], self.residual(maps[-1])]

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, channels, H / 8, W / 8]`."""
        return self.maps(images)[-1]


class PanoramaDecoder(nn.Module):
    """Paint a panorama from the maps of a `PanoramaEncoder`, with self-attention at a quarter of the size.

    Args:
        width, channels: of the encoder.

    Source: as the encoder.
    """

    def __init__(self, width: int = 32, channels: int = 256):
        super().__init__()
        sizes = [(2 * channels, 4 * width), (8 * width, 2 * width), (4 * width, 2 * width)]
        self.up = nn.ModuleList(UpBlock(*size) for size in sizes)
        self.norm = nn.ModuleList(instance_norm(outputs) for _, outputs in sizes)
        self.attention = SelfAttention(8 * width)
        self.paint = gan_conv(2 * width, 3, 3, spectral=False)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Return images `[B, 3, *size]` between -1 and 1 from an encoder's `maps`."""
        half, quarter, eighth, features = maps
        x = self.norm[0](self.up[0](torch.cat([features, eighth], 1), quarter.shape[2:]))
        x = self.attention(torch.cat([x, quarter], 1))
        x = self.norm[1](self.up[1](x, half.shape[2:]))
        x = self.norm[2](self.up[2](torch.cat([x, half], 1), size))
        return torch.tanh(self.paint(x))
