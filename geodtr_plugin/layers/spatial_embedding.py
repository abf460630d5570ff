"""SAFA's spatial-aware position embedding: masks made from where a view responds, and the tower built on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .modulation import masked_sums, modulate
from .trunks import feature_size

POOLS = {"mean": lambda x: x.mean(dim=1), "max": lambda x: x.amax(dim=1)}  # [B, C, N] -> [B, N]
SQUASHES = {"none": lambda x: x, "tanh": torch.tanh}
INITIAL_STD = 0.005  # cut off at two of them; with the bias of 0.1 all masks start almost flat


class SpatialEmbedding(nn.Module):
    """K masks over the N positions of a feature map, each by two linear maps, N to N / 2 to N, of its channel average.

    Args:
        positions: number of positions N = h * w of the feature map.
        heads: number of masks K.
        pool: what stands for a position, the `mean` of its channels (the authors' code) or their `max` (the paper).
        squash: `none` (SAFA) or `tanh`, which keeps the masks between -1 and 1.

    Raises:
        ValueError: `pool` or `squash` is not known, or there is no position or head.

    Source: Shi et al., NeurIPS 2019, section 3.2; constants from the released code.
    """

    def __init__(self, positions: int, heads: int = 8, pool: str = "mean", squash: str = "none"):
        super().__init__()
        for name, value, known in (("pool", pool, POOLS), ("squash", squash, SQUASHES)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(known)}.")
        hidden = positions // 2
        if hidden == 0 or heads < 1:
            raise ValueError(
                f"A spatial embedding needs at least 2 positions and 1 head, not {positions} and {heads}. "
                "Take larger images, a trunk of smaller stride, or more heads."
            )
        self.pool, self.squash = pool, squash
        self.w1 = nn.Parameter(torch.empty(positions, hidden, heads))
        self.b1 = nn.Parameter(torch.empty(1, hidden, heads))
        self.w2 = nn.Parameter(torch.empty(hidden, positions, heads))
        self.b2 = nn.Parameter(torch.empty(1, positions, heads))
        for weight, bias in ((self.w1, self.b1), (self.w2, self.b2)):
            nn.init.trunc_normal_(weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
            nn.init.constant_(bias, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        """Map `[B, C, h, w]` to masks `[B, h * w, K]` in fp32."""
        with torch.autocast(features.device.type, enabled=False):  # masks differ little, bfloat16 would round that off
            response = POOLS[self.pool](features.float().flatten(2))
            hidden = torch.einsum("bn,nhk->bhk", response, self.w1) + self.b1
            masks = torch.einsum("bhk,hnk->bnk", hidden, self.w2) + self.b2
            return SQUASHES[self.squash](masks)

    def extra_repr(self) -> str:
        positions, _, heads = self.w1.shape
        return f"positions={positions}, heads={heads}, pool={self.pool}, squash={self.squash}"


class SpatialTower(nn.Module):
    """Trunk, spatial embedding and masked sums of one view.

    Args:
        trunk: `[B, 3, H, W]` -> `[B, C, h, w]`.
        image_size: (height, width) of the images.
        heads, pool, squash: of the spatial embedding; a tower's embedding has C * heads numbers, channel-major.

    Raises:
        ValueError: the images are too small for the trunk or the spatial embedding.
    """

    def __init__(
        self, trunk: nn.Module, image_size: tuple[int, int], heads: int = 8, pool: str = "mean", squash: str = "none"
    ):
        super().__init__()
        self.trunk = trunk
        channels, height, width = feature_size(trunk, image_size)
        self.spatial = SpatialEmbedding(height * width, heads, pool, squash)
        self.embedding_size = channels * heads

    def forward(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to `[B, D]` of unit norm."""
        return self.aggregate(self.trunk(images))

    def aggregate(self, features: Tensor) -> Tensor:
        """Map the trunk's `[B, C, h, w]` to `[B, D]` of unit norm."""
        return modulate(features, self.spatial(features))

    def masks(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to the masks on the trunk's grid, `[B, heads, h, w]`."""
        features = self.trunk(images)
        return self.spatial(features).transpose(1, 2).unflatten(2, features.shape[2:])

    def sums(self, images: Tensor) -> Tensor:
        """Map `[B, 3, H, W]` to the embeddings before they get unit norm, `[B, D]` in fp32."""
        features = self.trunk(images)
        return masked_sums(features, self.spatial(features))
