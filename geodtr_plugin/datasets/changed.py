"""Images that are changed as they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .images import Images

Change = Callable[[np.ndarray, str, int], np.ndarray]  # (uint8 [H, W, 3], id, row) -> uint8 [H, W, 3] of any size


class ChangedImages(Images):
    """Other images, changed one by one in the process that reads them.

    Args:
        images: what is changed.
        change: makes an image of an image, its id and its row; to be sent to loader workers where these do not fork.
    """

    def __init__(self, images: Images, change: Change):
        super().__init__(images.ids, images.coordinates, images.coordinate_kind)
        self.images, self.change = images, change

    def path(self, i: int) -> Path | None:
        """Return the file of image i before the change."""
        return self.images.path(i)

    def read(self, i: int) -> Tensor:
        """Return image i changed, uint8 `[3, H, W]`; errors as of the images that are changed."""
        image = self.images.read(i).permute(1, 2, 0).contiguous().numpy()
        changed = self.change(image, self.ids[i], i)
        return torch.from_numpy(np.array(changed)).permute(2, 0, 1)
