"""Headings: where the centre of a panorama looks, in degrees clockwise from north, and images turned to another one.

Only colours are turned, the first three channels: further ones say where directions lie in an image (orientation maps),
and stay what they are whatever the image shows there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .field_of_view import random_columns
from .image_transform import COLOURS

QUARTER = 90


def centred_on(images: Tensor, degrees: float, tiles: bool = False) -> Tensor:
    """Turn images so that the direction `degrees` clockwise of what they are centred on takes its place.

    Args:
        images: panoramas or polar tiles `[B, C, H, W]`, whose columns roll by the nearest whole number; or square
            tiles `[B, C, S, S]`, whose centre is the top, north.
        degrees: any number; of tiles, whole quarter turns, which move pixels and resample none.
        tiles: the images are square tiles.

    Returns:
        New images of the same shape and type.

    Raises:
        ValueError: tiles are no squares, or are to be turned by anything but quarters.
    """
    colours = images[:, :COLOURS]
    if not tiles:
        turned = colours.roll(-round(degrees / 360 * images.shape[-1]), -1)
    elif degrees % QUARTER or images.shape[-1] != images.shape[-2]:
        raise ValueError(f"tiles {list(images.shape)} cannot be turned by {degrees:g} degrees: square ones by quarters")
    else:
        turned = colours.rot90(round(degrees / QUARTER), (-2, -1))
    return _with_colours(images, turned)


def random_turns(panoramas: Tensor) -> Tensor:
    """Roll each of the panoramas `[B, C, H, W]` to a heading of its own, by torch's CPU generator."""
    return _with_colours(panoramas, random_columns(panoramas[:, :COLOURS], panoramas.shape[-1]))


def _with_colours(images: Tensor, colours: Tensor) -> Tensor:
    return torch.cat([colours, images[:, COLOURS:]], dim=1) if images.shape[1] > COLOURS else colours.contiguous()
