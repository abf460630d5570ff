"""What some models learn from images outside of training: their first clusters, and a whitening at the end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ..augmentations import ViewTransform
from ..datasets.base import Index, ViewDataset
from ..methods._base import TwoTower
from .build import ROLES, build_role_transforms
from .log import log

BATCH = 32
START_IMAGES, PCA_IMAGES = 500, 10_000  # what NetVLAD's authors take


def initialise(model: TwoTower, train: Index, views: dict[str, ViewTransform], seed: int) -> None:
    """Let a model that has `initialise` see training images before its first step."""
    if hasattr(model, "initialise"):
        log.info(f"{model.method_name} starts from {START_IMAGES} training images")
        model.initialise(images(model, train, views, START_IMAGES, seed))


def whiten(model: TwoTower, train: Index, views: dict[str, ViewTransform], seed: int) -> bool:
    """Let a model that was built with `pca` learn it from training images; whether it did."""
    components = model.config.get("pca")
    if not components:
        return False
    log.info(f"{model.method_name} learns its whitening to {components} dimensions")
    model.fit_pca(images(model, train, views, PCA_IMAGES, seed))
    return True


def images(
    model: TwoTower, train: Index, views: dict[str, ViewTransform], count: int, seed: int
) -> Iterator[Tensor]:
    """Batches [B, 3, H, W] of random training images, normalised, half of them of either role.

    Roles take turns, so that the first images are of both.
    """
    transforms = build_role_transforms(model, views)
    device = next(model.parameters()).device
    stored = {"query": train.queries, "reference": train.references}
    loaders = [_loader(stored[role], views[role], count // 2, seed) for role in ROLES]
    for batches in zip(*loaders):
        for role, (batch, _) in zip(ROLES, batches):
            yield transforms[role].to(device)(batch.to(device))


def _loader(stored, view: ViewTransform, count: int, seed: int) -> DataLoader:
    rows = np.random.default_rng(seed).permutation(len(stored))[:count]
    return DataLoader(Subset(ViewDataset(stored, view), rows.tolist()), BATCH, generator=torch.Generator())
