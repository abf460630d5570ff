"""Where the queries of a test look, and how a run finds that out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..augmentations import ImageTransform
from ..distances import HeadingDistance, MaxOverHeadings
from ..methods import TwoTower
from ..methods.field_of_view import FieldOfView
from ..testers.turned import TurnedCopies
from ..utils.errors import UserError
from ..utils.roles import Role

HEADINGS_SEED = 0  # of where queries of tests look: the same for all methods and runs
QUARTERS = (1, 2, 4)  # headings to which a square tile turns without a resampled pixel


class Orientation:
    """The headings of the queries of a run's tests.

    With `view.headings`, several headings are tried for every query. A whole panorama is turned itself; for a part of
    one, whose other sides are not known, the references are.

    Args:
        view: what queries show, and whether headings are tried.
        model: what is measured.
        transforms: its image transforms.

    Raises:
        UserError: the images cannot be turned to so many headings, or the model compares headings by itself.
    """

    def __init__(self, view: FieldOfView, model: TwoTower, transforms: dict[str, ImageTransform]):
        self.view, self.model, self.transforms = view, model, transforms
        query = transforms["query"]
        self.columns = query.panorama_width or query.width
        self.turned_role: Role = "query" if view.fov == 360 else "reference"
        self.tiles = self.turned_role == "reference" and not model.polar
        own = model.distance
        if view.headings:
            self._check(own)
        self.distance: HeadingDistance | None = MaxOverHeadings(view.headings) if view.headings else own

    def of_training(self) -> Orientation:
        """Return how training images are measured: turned as the training turns them, without headings to try."""
        turned = "never" if self.view.turned == "tests" else self.view.turned
        return Orientation(replace(self.view, turned=turned, headings=0), self.model, self.transforms)

    def embedding(self, role: Role) -> tuple[Any, int]:
        """Return what embeds a role in a test, and the length of its embeddings."""
        size = self.model.embedding_size_of(role)
        if not self.view.headings:
            return self.model, size
        copies = self.view.headings if role == self.turned_role else 1
        return TurnedCopies(self.model, self.turned_role, self.view.headings, self.tiles), size * copies

    def turns(self, count: int) -> np.ndarray | None:
        """Return by which shares of a turn `count` test queries look elsewhere than north, `[count]`; None: by none."""
        return None if self.view.known else np.random.default_rng(HEADINGS_SEED).random(count)

    def true_headings(self, count: int) -> np.ndarray:
        """Return where the centres of test queries look, degrees clockwise from north, float64 `[count]`.

        Images turn by whole columns, so that these are exact.
        """
        turns, shown = self.turns(count), self.model.query_size[1]
        turned = np.zeros(count) if turns is None else np.floor(turns * self.columns)
        beside = (self.columns - shown) // 2 + shown / 2 - self.columns / 2  # of the middle, by which windows are cut
        return (turned + beside) * (360 / self.columns) % 360

    def _check(self, own: Any) -> None:
        tried = self.view.headings
        if own is not None:
            raise UserError(
                f"{self.model.method_name} compares all headings by itself.", "Leave out --headings: it tells them."
            )
        if tried > self.columns:
            raise UserError(f"--headings {tried} are more than the {self.columns} columns of a panorama.", "Try fewer.")
        height, width = self.model.reference_size
        if self.tiles and (tried not in QUARTERS or height != width):
            raise UserError(
                f"--headings {tried}: of a field of view of {self.view.fov:g} degrees only the references can be "
                "turned, and square tiles turn by quarters.",
                "Try 4 headings, or a polar model (--polar), whose references turn to any.",
            )
