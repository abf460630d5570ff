"""The first geometric layout extractor: K masks from the strongest channel of every position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layout_extractor import MASKS


class LayoutExtractorV1(nn.Module):
    """GeoDTR's layout extractor: a Transformer over K descriptor tokens, made from and turned back into positions.

    Args:
        channels: channels C of the feature map; the index of the strongest one is divided by it.
        positions: number of positions h * w of the feature map; all maps over positions are built for it.
        descriptors: number of masks K.
        heads, layers, feedforward, dropout: of the post-norm Transformer encoder.
        mask: squashing of the masks, `hardtanh` (the paper's) or `sigmoid`.

    Tokens are half as wide as there are positions. The authors' code needs that half to be whole and a multiple of
    `heads`; here it is rounded down to one, which changes nothing where their code runs.

    Source: Zhang et al., AAAI 2023, section "Geometric Layout Extractor"; constants from the released code.
    """

    def __init__(
        self, channels: int, positions: int, descriptors: int = 8, *, heads: int = 4, layers: int = 2,
        feedforward: int = 2048, dropout: float = 0.3, mask: str = "hardtanh",
    ):  # fmt: skip
        super().__init__()
        if mask not in MASKS:
            raise ValueError(f"mask is {mask!r}; it must be one of {', '.join(MASKS)}.")
        width = positions // 2 // heads * heads
        if width == 0:
            raise ValueError(
                f"A feature map of {positions} positions is too small for {heads} heads, which need {2 * heads}. "
                "Take larger images, a trunk of smaller stride, or fewer heads."
            )
        self.mask, self.channels = mask, channels
        self.w1, self.b1 = _maps(positions, descriptors, width)
        self.index = IndexEmbedding(positions, descriptors, width)
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.w2, self.b2 = _maps(width, descriptors, positions)

    def forward(self, features: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to masks `[B, h * w, K]` in the range of `mask`."""
        saliency, strongest = features.flatten(2).max(dim=1)  # [B, h * w] each
        tokens = torch.einsum("bp,pkw->bkw", saliency, self.w1) + self.b1
        tokens = self.encoder(self.dropout(tokens + self.index(strongest / self.channels)))
        masks = torch.einsum("bkw,wkp->bkp", tokens, self.w2) + self.b2
        return MASKS[self.mask](masks.transpose(1, 2))

    @staticmethod
    def author_key(key: str) -> str:
        """Return the name of one of our tensors in the authors' layout extractor."""
        if key.startswith("index."):
            return "tr_module.pos_encoder." + {"index.weight": "linear", "index.bias": "embedding_parameter"}[key]
        return f"tr_module.transformer_{key}" if key.startswith("encoder.") else key


class IndexEmbedding(nn.Module):
    """Position embedding of the descriptor tokens, from which channel is strongest where."""

    def __init__(self, positions: int, descriptors: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(positions, descriptors, width).normal_(std=0.005))
        self.bias = nn.Parameter(torch.zeros(1, descriptors, width))

    def forward(self, index: Tensor) -> Tensor:
        """Map channel indices `[B, positions]`, as shares of the channels, to `[B, K, width]` within -1 and 1."""
        return nn.functional.hardtanh(torch.einsum("bp,pkw->bkw", index, self.weight) + self.bias)


def _maps(inputs: int, descriptors: int, outputs: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Make weight `[inputs, K, outputs]` and bias `[1, K, outputs]` of a linear map of its own for each descriptor."""
    weight = torch.empty(inputs, descriptors, outputs).normal_(std=0.005)  # masks start near the bias: sum pooling
    return nn.Parameter(weight), nn.Parameter(torch.full((1, descriptors, outputs), 0.1))
