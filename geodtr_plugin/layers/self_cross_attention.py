"""Self-cross attention: a Transformer block whose keys come from the block before it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-6  # of all layer norms, as in Google's Vision Transformer


class SelfCrossAttention(nn.Module):
    """Attention of all heads, with queries and values of one sequence and keys of another of the same length.

    Args:
        width: length of a token.
        heads: number of heads, a divisor of the width.

    Source: Yang et al., NeurIPS 2021 (L2LTR), self-cross attention, as in the authors' code.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of {heads} heads.")
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Tensor, previous: Tensor) -> Tensor:
        """Map tokens and those of the previous block, `[B, N, width]` each, to `[B, N, width]`."""
        linear = (self.query, tokens), (self.key, previous), (self.value, tokens)
        query, key, value = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f, x in linear)
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class SelfCrossBlock(nn.Module):
    """Pre-norm Transformer block on the output and the input of the block before it.

    Args:
        width: length of a token.
        heads: number of heads.
        dropout: in the feed-forward part; the attention has none.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.norm, self.norm_previous = nn.LayerNorm(width, EPS), nn.LayerNorm(width, EPS)
        self.attention = SelfCrossAttention(width, heads)
        self.norm_mlp = nn.LayerNorm(width, EPS)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, tokens: Tensor, previous: Tensor) -> Tensor:
        """Map this block's input and that of the block before, `[B, N, width]` each, to `[B, N, width]`."""
        tokens = tokens + self.attention(self.norm(tokens), self.norm_previous(previous))
        hidden = self.dropout(F.gelu(self.fc1(self.norm_mlp(tokens))))
        return tokens + self.dropout(self.fc2(hidden))


class SelfCrossEncoder(nn.Module):
    """Blocks of self-cross attention and a last layer norm; the first block has its own input as the previous one.

    Args:
        width, heads, dropout: see `SelfCrossBlock`.
        depth: number of blocks.
    """

    def __init__(self, width: int, depth: int, heads: int, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(SelfCrossBlock(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width, EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[B, N, width]` to tokens of the same shape."""
        previous = tokens
        for block in self.blocks:
            tokens, previous = block(tokens, previous), tokens
        return self.norm(tokens)
