"""A trained model as a function from stored images to unit vectors, through the transforms it was trained with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..augmentations import ImageTransform
from ..evaluation import NonFiniteEmbeddingsError
from ..methods.base import TwoTower
from ..methods.packaged import packaged_folder
from ..methods.weights import find_weights, load_model, read_config
from ..testers.embedding import embed_images
from ..testers.turned import TurnedCopies
from ..utils.devices import choose_device
from ..utils.digest import sha256_of
from ..utils.errors import UserError
from ..utils.reading import understood
from ..utils.roles import ROLES, Role
from ..utils.typed import typed


@dataclass(frozen=True)
class RunRecord:
    """What an index keeps of the run that made its vectors, so that nothing else is ever compared with them.

    Args:
        folder: the run folder, or the name of a model that comes with the package.
        weights: name of the file in it.
        sha256: of that file.
        model: what `create_model` builds the model from.
        views: the image transform of each role, as `ImageTransform.to_config` gives it.
        precision: fp32 or bf16, as the run was tested.
    """

    folder: str
    weights: str
    sha256: str
    model: dict[str, Any]
    views: dict[str, dict[str, Any]]
    precision: str

    @classmethod
    def read(cls, folder: str | os.PathLike, weights: str | None = None) -> RunRecord:
        """Return the record of a run folder, or of an exported one, as it is now.

        Args:
            folder: the folder, or the name of a model that comes with the package.
            weights: name of the file in it; None takes the best ones.

        Raises:
            UserError: it is no such folder, or does not hold the weights.
        """
        packaged = packaged_folder(folder)
        name = str(folder) if packaged else str(Path(folder).expanduser().absolute())
        folder = packaged or Path(folder).expanduser()
        config = read_config(folder)
        file = find_weights(folder) if weights is None else folder / weights
        if not file.is_file():
            raise UserError(f"{folder} no longer holds {weights}.", "Name the right folder with --run.")
        with understood(folder / "config.json", "Copy or export it again."):
            recipe = config["run"]["recipe"]
            precision = recipe["evaluation"].get("precision") or recipe["optim"]["precision"]
            for role in ROLES:
                ImageTransform.from_config(config["views"][role])
            found = {"folder": name, "weights": file.name, "sha256": sha256_of(file)}
            described = {"model": config["model"], "views": config["views"], "precision": precision}
            return typed(cls, {**found, **described}, "the run")


def differences(built: RunRecord, now: RunRecord) -> list[str]:
    """Return a sentence if a model differs from the one that references were embedded with."""
    again = "Similarities mean nothing until the index is built again: geodtr index build --overwrite."
    if built.sha256 != now.sha256:
        return [f"{now.folder}/{now.weights} holds other weights than those that the index was built with. {again}"]
    if (built.model, built.views) != (now.model, now.views):
        return [f"{now.folder} has another model or image transform than the index was built with. {again}"]
    return []


class Embedder:
    """Embed stored images of either role.

    Args:
        model: the model.
        images: how the images of each role get the network's size.
        device: where the model runs.
        precision: of the network, fp32 or bf16.
        headings: how many headings are tried for every query, whose vectors then are those of so many turned copies,
            side by side; 0 takes it as it is.
        cropped_queries: queries show no more than the network sees, and are no panoramas from whose middle it is cut.

    Raises:
        UserError: queries cannot be turned to so many headings.
    """

    def __init__(
        self, model: TwoTower, images: Mapping[Role, ImageTransform], device: torch.device, precision: str = "fp32",
        headings: int = 0, cropped_queries: bool = False,
    ):  # fmt: skip
        _check_headings(headings, images["query"])
        if headings and model.distance is not None:
            raise UserError(f"{model.method_name} compares all headings by itself.", "Leave out --headings.")
        self.model = model.to(device, memory_format=torch.channels_last).eval()
        self.device, self.precision = device, precision
        self.transforms = {role: model.role_transform(role, images[role]).to(device) for role in ROLES}
        if cropped_queries:
            self.transforms["query"] = self.transforms["query"].of_cropped().to(device)
        self.headings = headings
        self._network: Any = TurnedCopies(self.model, "query", headings) if headings else self.model

    @classmethod
    def load(
        cls, record: RunRecord, device: str = "auto", cropped_queries: bool = False, headings: int = 0
    ) -> Embedder:
        """Load the model of a run.

        Args:
            record: of the run.
            device: auto, cpu, cuda or mps.
            cropped_queries: as above, for a run with a limited field of view.
            headings: how many headings are tried for every query; 0: none.

        Raises:
            UserError: the model cannot be loaded, there is no such device, or queries cannot be turned.
        """
        images = {role: ImageTransform.from_config(record.views[role]) for role in ROLES}
        _check_headings(headings, images["query"])
        model = load_model(record.folder, record.weights)
        return cls(model, images, choose_device(device), record.precision, headings, cropped_queries)

    def on_load(self, image: Tensor, role: Role) -> Tensor:
        """Resize an image as it is done where images are decoded: uint8 `[3, H, W]` -> `[3, h, w]`.

        Raises:
            NotSquareError: an image for the polar transform is not square.
        """
        return self.transforms[role].image.on_load(image)

    def embed(self, images: Sequence[Tensor], role: Role) -> np.ndarray:
        """Embed images that went through `on_load`, uint8 `[3, h, w]` of any sizes -> float32 `[B, D]` of unit norm.

        Queries whose headings are tried: `[B, headings * D]`, each of its copies of unit norm.

        Raises:
            NonFiniteEmbeddingsError: an embedding holds NaN or infinity.
        """
        encode = getattr(self._network, f"encode_{role}")
        vectors = (
            embed_images(images, encode, self.transforms[role], device=self.device, precision=self.precision)
            .cpu()
            .numpy()
        )
        if not np.isfinite(vectors).all():
            raise NonFiniteEmbeddingsError(
                "The model gives embeddings that are not finite: it diverged, or its precision overflowed.",
                "Use other weights.",
            )
        return vectors


def _check_headings(count: int, query: ImageTransform) -> None:
    """Raise UserError for a number of headings to which no query can be turned."""
    if count < 0:
        raise UserError(f"--headings is {count}.", "It must be 0 or more.")
    if count and query.panorama_width is not None:
        raise UserError(
            "The model looks at a part of the panorama, which cannot be turned: nothing is known of the rest.",
            "Leave out --headings, or take a model of whole panoramas.",
        )
    if count > query.width:
        raise UserError(f"--headings {count} are more than the {query.width} columns of a panorama.", "Try fewer.")
