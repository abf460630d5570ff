"""Generalised-mean pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GeM(nn.Module):
    """Generalised mean over positions, (mean of x^p)^(1/p): p = 1 is the mean, a large p the maximum.

    One p for all channels, learned or fixed; values below `eps`, which have no real power, count as `eps`.

    Args:
        p: where the exponent starts.
        eps: lower bound of the values.
        learned: p is a parameter; False: it stays, and is a plain number.

    Raises:
        ValueError: `p` is not above 0.

    Source: Radenović et al., TPAMI 2019, section 3.2.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6, learned: bool = True):
        super().__init__()
        if not p > 0:
            raise ValueError(f"p is {p}; the exponent of a generalised mean must be above 0.")
        self.p, self.eps = nn.Parameter(torch.tensor(float(p))) if learned else float(p), eps

    def forward(self, features: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to fp32 `[B, C]`."""
        with torch.autocast(features.device.type, enabled=False):  # powers leave the range of half precision
            x = features.float().clamp(min=self.eps).flatten(2)
            return x.pow(self.p).mean(dim=2).pow(1 / self.p)

    def extra_repr(self) -> str:
        return f"p={float(self.p):.3g}, eps={self.eps:g}"
