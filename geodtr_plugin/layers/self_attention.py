"""Self-attention over the positions of a feature map, as generative adversarial networks have it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .spectral import gan_conv


class SelfAttention(nn.Module):
    """Add to every position what it finds at all others; at first nothing, as the gain begins at 0.

    Queries and keys have an eighth of the channels, values half of them; keys and values are the maxima of 2 x 2
    positions.

    Args:
        channels: of the map, at least 8.

    Source: Zhang et al., ICML 2019 (SAGAN), as in BigGAN's code.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.query, self.key, self.value, self.out = (
            gan_conv(inputs, outputs, 1, bias=False)
            for inputs, outputs in (
                (channels, channels // 8), (channels, channels // 8), (channels, channels // 2),
                (channels // 2, channels),
            )
        )  # fmt: skip
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, channels, H, W]` to the same shape."""
        pooled = (F.max_pool2d(conv(x), 2) for conv in (self.key, self.value))
        query, key, value = (maps.flatten(2).transpose(1, 2) for maps in (self.query(x), *pooled))
        found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.gain * self.out(found.transpose(1, 2).unflatten(2, x.shape[2:])) + x
