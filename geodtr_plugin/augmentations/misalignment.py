"""Geometry that each image gets without its partner: tiles cropped and turned, panoramas rolled."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..utils.errors import UnknownNameError
from .field_of_view import crop_columns
from .image_transform import COLOURS
from .layout import turn_tiles

TILES, PANORAMAS = ("none", "crop+turn"), ("none", "roll")
# the authors draw a side from 1 to 748 of their tiles' 750 pixels, and leave the tile whole at 512 or less: 31 % of
# the tiles are cropped
TILE, LARGEST, SMALLEST = 750, 748, 513
TURNS = 5  # 0 to 4 quarters, of which 4 are none, too


class Misalignment(nn.Module):
    """Crops and turns of tiles, rolls of panoramas, each by a draw of its own: pairs are aligned no longer.

    With `tiles="crop+turn"`, 31 % of the tiles are cropped around their centre, to 68 to 100 % of their side, and
    brought back to their size; then all are turned by 0 to 3 quarters (none: 40 %, else 20 % each). With
    `panoramas="roll"`, panoramas begin at any column. Channels behind the colours follow their pixels.

    Other than in the authors' code the crop is taken of the resized tile, not of the stored one, and a turn is exact:
    theirs is around pixel S/2, which moves the tile by a pixel.

    Args:
        tiles: "none" or "crop+turn".
        panoramas: "none" or "roll".
        generator: source of the draws; None: torch's global CPU generator.

    Raises:
        UnknownNameError: there is no such choice.

    Source: Hu et al., CVPR 2018 (CVM-Net), tiles; Liu and Li, CVPR 2019, both.
    """

    def __init__(self, tiles: str = "none", panoramas: str = "none", generator: torch.Generator | None = None):
        super().__init__()
        for name, known in ((tiles, TILES), (panoramas, PANORAMAS)):
            if name not in known:
                raise UnknownNameError("misalignment", name, known)
        self.tiles, self.panoramas, self.generator = tiles, panoramas, generator

    def forward(self, ground: Tensor, aerial: Tensor) -> tuple[Tensor, Tensor]:
        """Return panoramas `[B, C, H, W]` and square tiles `[B, C, S, S]`, float, each under its own draw."""
        return self.told(ground, aerial)[:2]

    @torch.no_grad()
    def told(self, ground: Tensor, aerial: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Do as `forward`, and tell the quarters by which tiles were turned clockwise, int64 `[B]`; None: by none."""
        turns = None
        if self.panoramas == "roll":
            first = self._whole(len(ground), ground.shape[-1])
            ground = crop_columns(ground, ground.shape[-1], first.to(ground.device, non_blocking=True))
        if self.tiles == "crop+turn":
            sides = 1 + self._whole(len(aerial), LARGEST)
            shares = torch.where(sides < SMALLEST, 1.0, sides / TILE)
            turns = self._whole(len(aerial), TURNS) % 4
            aerial = turn_tiles(crop_tiles(aerial, shares), turns)
        return ground, aerial, turns

    def _whole(self, n: int, below: int) -> Tensor:
        where = self.generator.device if self.generator else None
        return torch.randint(below, (n,), generator=self.generator, device=where).cpu()

    def extra_repr(self) -> str:
        return f"tiles={self.tiles!r}, panoramas={self.panoramas!r}"


def crop_tiles(tiles: Tensor, shares: Tensor) -> Tensor:
    """Crop tiles around their centre and bring them back to their size.

    Colours are interpolated. Of channels behind them, each pixel takes the values of the nearest one: between the two
    sides of a seam, as south has one among directions, there is nothing.

    Args:
        tiles: `[B, C, S, S]`, float.
        shares: of the side that stays, above 0 and at most 1, `[B]`, on the CPU; 1 leaves a tile as it is.

    Returns:
        `[B, C, S, S]`.
    """
    cropped = (shares < 1).nonzero()[:, 0]
    if not len(cropped):
        return tiles
    own = shares[cropped].to(tiles.device, tiles.dtype, non_blocking=True)
    rows = cropped.to(tiles.device, non_blocking=True)
    parts = tiles[rows]
    scaled = own[:, None, None] * tiles.new_tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    grid = F.affine_grid(scaled, [*parts.shape], align_corners=False)

    def sampled(channels: Tensor, mode: str) -> Tensor:
        return F.grid_sample(channels, grid, mode, padding_mode="border", align_corners=False)

    parts[:, :COLOURS] = sampled(parts[:, :COLOURS], "bilinear")
    if tiles.shape[1] > COLOURS:
        parts[:, COLOURS:] = sampled(parts[:, COLOURS:], "nearest")
    return tiles.index_copy(0, rows, parts)
