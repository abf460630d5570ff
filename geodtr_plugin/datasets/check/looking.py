"""Opening some images of a data set, or all: their sizes as stored, and what is wrong with those that do not decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tqdm import tqdm

from ...utils.errors import UserError
from ...utils.roles import ROLE_FOLDERS
from ..base import Split

_BAR_FROM = 1000  # images; fewer are opened before anybody wonders


@dataclass(frozen=True)
class Look:
    """One image that was opened.

    Args:
        split: "train" or "test".
        role: "queries" or "references".
        where: its path, or its number where it is no file.
        size: (height, width) as stored, before any crop; None where that cannot be read.
        error: what is wrong with it, a sentence; empty where it decodes.
    """

    split: str
    role: str
    where: str
    size: tuple[int, int] | None
    error: str = ""


def look_at_images(indexes: Sequence[Split], count: int | None, seed: int = 0) -> list[Look]:
    """Opens `count` images of every role of every split, chosen by the seed (None: all), and no file twice."""
    chosen: dict[str, tuple[Split, str, int]] = {}
    for index in indexes:
        for role in ROLE_FOLDERS:
            for row in choose(len(getattr(index, role)), count, seed):
                chosen.setdefault(_name(index, role, row), (index, role, row))
    bar = tqdm(chosen.items(), desc="decoding", unit="image", disable=len(chosen) < _BAR_FROM)
    return [_look(index, role, row, where) for where, (index, role, row) in bar]


def choose(total: int, count: int | None, seed: int) -> list[int]:
    """Some of the rows 0 ... total - 1 in ascending order, the first one among them."""
    if count is None or count >= total:
        return list(range(total))
    others = np.random.default_rng(seed).choice(np.arange(1, total), max(count - 1, 0), replace=False)
    return [0, *sorted(others.tolist())][:count]


def _name(index: Split, role: str, row: int) -> str:
    images = getattr(index, role)
    path = images.path(row)
    return str(path) if path is not None else f"image {row} ({images.ids[row]}) of the {index.split} {role}"


def _look(index: Split, role: str, row: int, where: str) -> Look:
    images = getattr(index, role)
    try:
        height, width = images.read(row).shape[1:]
    except UserError as error:
        return Look(index.split, role, where, None, str(error))
    path = images.path(row)
    if path is not None:  # the header tells the size before the crop
        with Image.open(path) as image:
            width, height = image.size
    return Look(index.split, role, where, (height, width))
