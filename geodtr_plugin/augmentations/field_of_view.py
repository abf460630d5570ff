"""Queries with a limited horizontal field of view, cut from panoramas."""

from __future__ import annotations

import torch
from torch import Tensor


def narrow_width(width: int, fov: float) -> int:
    """Return how many of a panorama's `width` columns `fov` degrees take, rounded down as in TransGeo."""
    return max(1, int(fov / 360 * width))


def crop_columns(panoramas: Tensor, width: int, first: Tensor | None = None) -> Tensor:
    """Cut windows out of panoramas, across the seam where they reach over it.

    Args:
        panoramas: `[B, C, H, W]` over the full turn.
        width: columns of a window, at most W.
        first: the window's first column of each panorama, int64 `[B]`; None: the window around the centre, north.

    Returns:
        `[B, C, H, width]`, contiguous.
    """
    full = panoramas.shape[-1]
    if first is None:
        begin = (full - width) // 2
        return panoramas[..., begin : begin + width].contiguous()
    columns = (first[:, None] + torch.arange(width, device=panoramas.device)) % full
    return panoramas.gather(3, columns[:, None, None, :].expand(*panoramas.shape[:3], width))


def random_columns(panoramas: Tensor, width: int) -> Tensor:
    """Cut windows `[B, C, H, width]` at random headings out of panoramas `[B, C, H, W]`, by torch's CPU generator."""
    first = torch.randint(panoramas.shape[-1], (len(panoramas),))
    return crop_columns(panoramas, width, first.to(panoramas.device, non_blocking=True))
