"""Vision Transformers with a class and a distillation token (DeiT) for images of any size."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from ..utils.errors import UnknownNameError, UserError
from .trunks import downloading

EXTRA_TOKENS = 2  # class and distillation
PATCH = 16  # pixels, of every DeiT


def build_distilled_vit(name: str, image_size: tuple[int, int], outputs: int, pretrained: bool = True) -> nn.Module:
    """Build a distilled Transformer, which maps `[B, 3, *image_size]` to `[B, outputs]`, the mean of its two heads.

    Args:
        name: a distilled DeiT by timm's name (`deit_small_distilled_patch16_224`), with or without `timm/` in front, or
            `tiny` (0.15 M parameters that learn from scratch on a CPU).
        image_size: (height, width); columns and rows beyond the last whole patch are not seen.
        outputs: of either head; at 1000, pretrained heads are ImageNet's, else they start from scratch.
        pretrained: ImageNet weights, downloaded on first use; `tiny` has none and always starts from scratch.

    Raises:
        UnknownNameError: there is no such Transformer.
        ValueError: the images hold no patch.
        UserError: the weights could not be loaded.
    """
    import timm

    if name == "tiny":
        return _tiny(image_size, outputs)
    name = name.removeprefix("timm/")
    known = timm.list_models("deit_*_distilled_*")
    if name not in known:
        raise UnknownNameError("distilled Transformer", name, ["tiny", *known])
    if min(image_size) < PATCH:
        raise ValueError(f"Images of {image_size[0]}x{image_size[1]} hold no patch of {name}, {PATCH}x{PATCH}.")
    if not pretrained:
        return timm.create_model(name, img_size=image_size, num_classes=outputs)
    with downloading(name):
        vit = timm.create_model(name, pretrained=True, num_classes=outputs)
    return resize_input(vit, image_size)


def resize_input(vit: nn.Module, image_size: tuple[int, int]) -> nn.Module:
    """Make timm's Transformer take images of (height, width), with its position embeddings resized bilinearly."""
    positions = vit.pos_embed.detach()
    vit.set_input_size(img_size=image_size)  # which resizes bicubically
    with torch.no_grad():
        vit.pos_embed.copy_(resize_positions(positions, vit.patch_embed.grid_size))
    return vit


def resize_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Map position embeddings `[1, 2 + n * n, C]` of a square grid to `[1, 2 + h * w, C]`, bilinearly.

    Extra tokens stay. Embeddings that are as many as the new grid has places are taken to be its own.

    Raises:
        UserError: they are of no square grid.
    """
    from timm.layers import resample_abs_pos_embed

    number = positions.shape[1] - EXTRA_TOKENS
    if number == math.prod(grid):
        return positions
    if math.isqrt(number) ** 2 != number:
        raise UserError(
            f"{number} position embeddings are no square grid, so that they cannot be resized to {grid[0]}x{grid[1]}.",
            "Set the image size of the model to that of the weights.",
        )
    return resample_abs_pos_embed(
        positions, list(grid), num_prefix_tokens=EXTRA_TOKENS, interpolation="bilinear", antialias=False, verbose=False
    )


def _tiny(image_size: tuple[int, int], outputs: int) -> nn.Module:
    """Build one of width 64 and two blocks, a token for 8 x 8 pixels, that can learn from 1,500 pairs.

    Three convolutions stand in place of the patch projection (Xiao et al., NeurIPS 2021). Linear layers begin with
    torch's weights and position embeddings with a deviation of 0.5, both instead of 0.02: places must differ from the
    start for attention to find them in time. Batch normalisation follows either head: without it, all embeddings fall
    onto one point within an epoch.
    """
    from timm.layers import HybridEmbed
    from timm.models.deit import VisionTransformerDistilled

    steps = ((3, 16), (16, 32), (32, 64))
    stem = [(nn.Conv2d(*step, 3, 2, 1, bias=False), nn.BatchNorm2d(step[1]), nn.ReLU()) for step in steps]
    embed = partial(HybridEmbed, backbone=nn.Sequential(*(layer for group in stem for layer in group)))
    vit = VisionTransformerDistilled(
        img_size=image_size, patch_size=1, embed_layer=embed, embed_dim=64, depth=2, num_heads=4, num_classes=outputs
    )
    for layer in vit.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    nn.init.normal_(vit.pos_embed, std=0.5)
    vit.head = nn.Sequential(vit.head, nn.BatchNorm1d(outputs, affine=False))
    vit.head_dist = nn.Sequential(vit.head_dist, nn.BatchNorm1d(outputs, affine=False))
    return vit
