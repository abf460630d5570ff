"""Embeddings of turned copies: of a query whose heading is unknown, or of a reference that is tried against it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..augmentations.headings import centred_on
from ..utils.roles import Role


class TurnedCopies(nn.Module):
    """A model whose embeddings of one role are those of H turned copies of the image, side by side: `[B, H * D]`.

    Copy k stands for the heading k * 360 / H of the query, clockwise from north, as `distances.MaxOverHeadings` has it:
    a query is turned back by it, so that north comes to its centre; a reference is turned so that this direction takes
    north's place. The network's input is turned, which the same pixels survive; copies go through it one after another.

    Args:
        model: with `encode_query` and `encode_reference`.
        role: whose copies are embedded; the other role stays as it is.
        count: the number H of headings.
        tiles: the images of that role are square tiles; False: panoramas, or polar tiles.
    """

    def __init__(self, model: nn.Module, role: Role, count: int, tiles: bool = False):
        super().__init__()
        self.model, self.role, self.count, self.tiles = model, role, count, tiles

    def encode_query(self, images: Tensor) -> Tensor:
        """Map `[B, C, H, W]` to `[B, D]`, or `[B, count * D]`."""
        return self._encode(images, "query")

    def encode_reference(self, images: Tensor) -> Tensor:
        """Map `[B, C, H, W]` to `[B, D]`, or `[B, count * D]`."""
        return self._encode(images, "reference")

    def _encode(self, images: Tensor, role: Role) -> Tensor:
        encode = getattr(self.model, f"encode_{role}")
        if role != self.role:
            return encode(images)
        step = 360 / self.count * (-1 if role == "query" else 1)
        return torch.cat([encode(centred_on(images, k * step, self.tiles)) for k in range(self.count)], dim=1)
