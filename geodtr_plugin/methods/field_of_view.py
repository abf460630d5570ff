"""What of a panorama the queries of a run show, and where they look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..utils.errors import UserError
from .ranges import MOST_COUNT, check_numbers


@dataclass(frozen=True)
class FieldOfView:
    """What of a panorama the query shows.

    Args:
        fov: horizontal field of view of the queries in degrees, in training and test
        heading: where a limited field of view looks: random (unknown orientation), or fixed to the panorama's centre
        turned: when panoramas begin anywhere in place of south: never, in tests (whose headings are drawn once, the
            same for all methods and runs), or always, in training too
        headings: how many headings tests try for every query, 360 / headings degrees apart; the most similar one counts
            and is told. 0 tries none: queries are what they seem
    """

    fov: float = 360.0
    heading: Literal["random", "fixed"] = "random"
    turned: Literal["never", "tests", "always"] = "never"
    headings: int = 0

    def __post_init__(self):
        check_numbers(self, "--view.", headings=(0, MOST_COUNT))
        if not 0 < self.fov <= 360:
            raise UserError(f"--fov is {self.fov:g}; a field of view is above 0 and at most 360 degrees.")

    @property
    def known(self) -> bool:
        """Whether it is known where queries of tests look: at the middle of their references."""
        return self.turned == "never" and (self.fov == 360 or self.heading == "fixed")

    def test_name(self, name: str) -> str:
        """Return what numbers of a test set are published under: "cvusa", "cvusa@180" where headings are unknown."""
        if not self.known:
            return f"{name}@{self.fov:g}"
        return name if self.fov == 360 else f"{name}@{self.fov:g}, known heading"
