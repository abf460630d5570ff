"""Geometric layout extractors: from a feature map to K masks over its positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MASKS = {"sigmoid": torch.sigmoid, "hardtanh": nn.functional.hardtanh}
MASK_RANGE = {"sigmoid": (0.0, 1.0), "hardtanh": (-1.0, 1.0)}  # counterfactual masks are uniform over the same range


class LayoutExtractorV2(nn.Module):
    """GeoDTR+'s layout extractor: a Transformer over positions, then K masks, each through its own bottleneck.

    Args:
        channels: channels C of the feature map.
        positions: number of positions h * w of the feature map; position embedding and bottleneck are built for it.
        descriptors: number of masks K.
        heads, layers, feedforward, dropout: of the post-norm Transformer encoder.
        bottleneck: pass each mask through two linear maps over positions, h * w -> h * w / 2 -> h * w.
        mask: squashing of the masks, `sigmoid` or `hardtanh`.

    Source: Zhang et al., TPAMI 2024, section 3.3; constants from the released code.
    """

    def __init__(
        self, channels: int, positions: int, descriptors: int = 8, *, heads: int = 4, layers: int = 2,
        feedforward: int = 512, dropout: float = 0.3, bottleneck: bool = True, mask: str = "sigmoid",
    ):  # fmt: skip
        super().__init__()
        if mask not in MASKS:
            raise ValueError(f"mask is {mask!r}; it must be one of {', '.join(MASKS)}.")
        if channels % heads:
            raise ValueError(f"The {channels} channels of the trunk are no multiple of the {heads} heads.")
        self.mask = mask
        self.position = nn.Parameter(torch.zeros(1, positions, channels))
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(channels, heads, feedforward, dropout, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(channels), enable_nested_tensor=False)
        self.pointwise = nn.Linear(channels, descriptors)
        self.bottleneck = MaskBottleneck(positions, descriptors) if bottleneck else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to masks `[B, h * w, K]` in the range of `mask`."""
        tokens = features.flatten(2).transpose(1, 2)
        tokens = self.encoder(self.dropout(tokens + self.position))
        return MASKS[self.mask](self.bottleneck(self.pointwise(tokens)))

    @staticmethod
    def author_key(key: str) -> str:
        """Return the name of one of our tensors in the authors' layout extractor."""
        for ours, theirs in (("position", "pe.pe"), ("encoder.", "transformer_encoder."), ("bottleneck.", "")):
            if key.startswith(ours):
                return theirs + key.removeprefix(ours)
        return key


class MaskBottleneck(nn.Module):
    """Two linear maps over positions without a nonlinearity between them, separate for each descriptor."""

    def __init__(self, positions: int, descriptors: int):
        super().__init__()
        hidden = positions // 2
        self.w1 = nn.Parameter(torch.empty(descriptors, positions, hidden))
        self.b1 = nn.Parameter(torch.empty(1, descriptors, hidden))
        self.w2 = nn.Parameter(torch.empty(descriptors, hidden, positions))
        self.b2 = nn.Parameter(torch.empty(1, descriptors, positions))
        for weight, bias in ((self.w1, self.b1), (self.w2, self.b2)):
            nn.init.normal_(weight, std=0.005)  # all masks start near the squashed bias, i.e. as plain sum pooling
            nn.init.constant_(bias, 0.1)

    def forward(self, masks: Tensor) -> Tensor:
        """Map masks `[B, positions, K]` to masks of the same shape."""
        masks = masks.permute(2, 0, 1)  # [K, B, positions], so that both maps are one batched product each
        masks = torch.baddbmm(self.b1.transpose(0, 1), masks, self.w1)
        masks = torch.baddbmm(self.b2.transpose(0, 1), masks, self.w2)
        return masks.permute(1, 2, 0)
