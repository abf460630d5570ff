"""What an augmentation made of a batch, together with what it drew."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Samples(NamedTuple):
    """The samples of a batch: all first ones, then all twins where there are twins."""

    ground: Tensor  # [S, C, H, W]
    aerial: Tensor  # [S, C, H', W']
    labels: Tensor  # int64 [S]
    layouts: Tensor | None = None  # int64 [S], 0..7, as they were applied to both images; None: nothing was turned
    more: Tensor | None = None  # [S, C, H', W']: one more aerial image of each sample, turned as the sample was
    turns: Tensor | None = None  # int64 [S], 0..3: quarters clockwise that the tile was turned by, its panorama not
