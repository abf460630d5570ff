"""A trained model as a function from stored images to unit vectors, through the views that it was trained with."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..augmentations import ImageTransform, RoleTransform
from ..evaluation.similarity import NonFiniteEmbeddingsError
from ..methods.base import TwoTower
from ..methods.weights import find_weights, load_model
from ..testers.embedding import embed_images
from ..utils.devices import choose_device
from ..utils.errors import UserError
from ..utils.roles import ROLES, Role


@dataclass(frozen=True)
class RunFacts:
    """What an index must remember of the run that made its vectors.

    Args:
        folder: the run folder.
        weights: name of the file in it.
        sha256: of that file.
        model: what the model is built from.
        views: the view of each role, as `ImageTransform.to_config` gives it.
        precision: fp32 or bf16, as the run was tested.
    """

    folder: str
    weights: str
    sha256: str
    model: dict[str, Any]
    views: dict[str, dict[str, Any]]
    precision: str

    @classmethod
    def read(cls, folder: str | os.PathLike, weights: str | None = None) -> RunFacts:
        """The facts of a run folder as it is now.

        Raises:
            UserError: it is none, or has no weights.
        """
        folder = Path(folder).expanduser()
        config_file = folder / "config.json"
        if not config_file.is_file():
            raise UserError(f"{folder} is no run folder (it has no config.json). Name the folder that the run printed.")
        config = json.loads(config_file.read_text(encoding="utf-8"))
        file = find_weights(folder) if weights is None else folder / weights
        if not file.is_file():
            raise UserError(f"{folder} no longer holds {weights}. Name the right folder with --run.")
        recipe = config["run"]["recipe"]
        precision = recipe["evaluation"].get("precision") or recipe["optim"]["precision"]
        return cls(str(folder.absolute()), file.name, sha256(file), config["model"], config["views"], precision)


class Embedder:
    """Embeds stored images.

    Args:
        model: the model.
        views: the view of each role.
        device: where it runs.
        precision: of the network, fp32 or bf16.
    """

    def __init__(self, model: TwoTower, views: dict[str, ImageTransform], device: torch.device, precision: str = "fp32"):
        self.model = model.to(device, memory_format=torch.channels_last).eval()
        self.views, self.device, self.precision = views, device, precision
        self.transforms = {role: RoleTransform(views[role], model.mean, model.std).to(device) for role in ROLES}

    @classmethod
    def load(cls, facts: RunFacts, device: str = "auto", cropped_queries: bool = False) -> Embedder:
        """The model of a run.

        Args:
            facts: of the run.
            device: auto, cpu, cuda or mps.
            cropped_queries: for a run with a limited field of view: queries show just that, and are no panoramas from
                whose middle it must be cut.
        """
        views = {role: ImageTransform.from_config(facts.views[role]) for role in ROLES}
        if cropped_queries and views["query"].panorama_width is not None:
            views["query"] = replace(views["query"], panorama_width=None)
        return cls(load_model(facts.folder, facts.weights), views, choose_device(device), facts.precision)

    def on_load(self, image: Tensor, role: Role) -> Tensor:
        """What a loader's process does with an image: uint8 `[3, H, W]` -> uint8 `[3, h, w]`."""
        return self.views[role].on_load(image)

    def embed(self, images: Sequence[Tensor], role: Role) -> np.ndarray:
        """Images that went through `on_load`, uint8 `[3, h, w]` of any sizes -> float32 `[B, D]` of unit norm."""
        encode = getattr(self.model, f"encode_{role}")
        vectors = embed_images(
            images, encode, self.transforms[role], device=self.device, precision=self.precision
        ).cpu().numpy()
        if not np.isfinite(vectors).all():
            raise NonFiniteEmbeddingsError(
                "The model gives embeddings that are not finite: it diverged, or its precision overflowed. Use other "
                "weights."
            )
        return vectors


def sha256(file: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()
