"""What a model's `before_training` and `after_training` see: random training images, in batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ..augmentations import ImageTransform
from ..datasets import ImageDataset, Split
from ..methods import TwoTower
from ..testers.embedding import embed_images, modes_restored
from ..utils.roles import ROLES
from .build import build_role_transforms

BATCH = 32


class TrainingImages:
    """Call a function on random training images, half of them of either role.

    Args:
        model: whose input the images become, and on whose device.
        train: the training split.
        transforms: how images of either role get the model's size.
        seed: chooses the images.
    """

    def __init__(self, model: TwoTower, train: Split, transforms: dict[str, ImageTransform], seed: int):
        self.model, self.seed = model, seed
        self.images = {"query": train.queries, "reference": train.references}
        self.transforms = transforms

    def __call__(self, function: Callable[[Tensor], Tensor], count: int) -> Tensor:
        """Return the function's outputs, joined along their first axis, on the CPU.

        Args:
            function: of normalised images `[B, 3, H, W]` on the model's device; the model is in evaluation mode.
            count: images, at most; the first batches are of both roles.
        """
        device, transforms = next(self.model.parameters()).device, build_role_transforms(self.model, self.transforms)
        outputs = []
        with modes_restored(self.model):
            self.model.eval()
            for batches in zip(*(self._loader(role, count // 2) for role in ROLES)):
                for role, (batch, _) in zip(ROLES, batches):
                    outputs.append(embed_images(batch, function, transforms[role].to(device), device=device).cpu())
        return torch.cat(outputs)

    def _loader(self, role: str, count: int) -> DataLoader:
        images = self.images[role]
        rows = np.random.default_rng(self.seed).permutation(len(images))[:count]
        dataset = Subset(ImageDataset(images, self.transforms[role]), rows.tolist())
        return DataLoader(dataset, BATCH, generator=torch.Generator())
