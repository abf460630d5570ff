"""Pairs that lie too near each other to be negatives."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from ..utils.geo import to_metres
from ..utils.ragged import as_int64


class NearbyPlaces(nn.Module):
    """The pairs of different places that are nearer to each other than a radius: an `exclusion` for a loss.

    What one sees, the other shows too (CVACT: 25 m): such a pair is neither positive nor negative. The samples of a
    place itself, CHSG's twins, stay negatives. A label that is not among the places excludes nothing.

    The tables go to the labels' device with the first call; from then on nothing waits for the device.

    Args:
        places: place label of every image, integers `[P]`, in any order; of a place with several images, the position
            of the first is taken.
        coordinates_metres: their positions, float `[P, 2]` or `[P, 3]`; kept as whole millimetres, for which float32
            has no room and which every device can subtract exactly.
        radius: metres; nearer than this is excluded.
        samples_per_place: labels are `samples_per_place * place + sample`: 2 after CHSG, 1 for labels that are places.

    Raises:
        ValueError: places and coordinates do not fit, or a number is not above 0, or labels do not fit into 64 bits.
    """

    places: Tensor
    points: Tensor

    def __init__(self, places: np.ndarray, coordinates_metres: np.ndarray, radius: float, samples_per_place: int = 2):
        super().__init__()
        points = np.asarray(coordinates_metres, np.float64)
        places = as_int64(places)
        if points.ndim != 2 or len(points) != len(places):
            raise ValueError(f"{len(places)} places came with coordinates {list(points.shape)}")
        if not len(places) or not np.isfinite(points).all():
            raise ValueError("NearbyPlaces needs places, and finite coordinates for each")
        if not radius > 0 or samples_per_place < 1:
            raise ValueError(f"radius {radius} and samples_per_place {samples_per_place} must be above 0")
        self.radius, self.samples_per_place = radius, samples_per_place
        # labels of 64 bits wrap around, as those of CHSG do: a place is known by what is left of its label
        left = places * samples_per_place // samples_per_place
        names, first = np.unique(left, return_index=True)
        whole = samples_per_place & (samples_per_place - 1) == 0  # else what wraps around is no multiple
        if len(names) < len(np.unique(places)) or not (whole or np.array_equal(left, places)):
            raise ValueError("the labels of these places do not fit into 64 bits; number the places from 0")
        millimetres = np.rint(1000 * points[first]).astype(np.int64)
        self.register_buffer("places", torch.from_numpy(names), persistent=False)
        self.register_buffer("points", torch.from_numpy(millimetres), persistent=False)

    @classmethod
    def from_coordinates(
        cls, places: np.ndarray, coordinates: np.ndarray, kind: str, radius: float, samples_per_place: int = 2
    ) -> NearbyPlaces:
        """Build an exclusion from coordinates `[P, 2]` of either kind, "latlon" (degrees) or "metres"."""
        return cls(places, to_metres(coordinates, kind), radius, samples_per_place)

    @torch.no_grad()
    def forward(self, labels: Tensor, ref_labels: Tensor) -> Tensor:
        """Return which pairs of labels `[N]` and ref_labels `[M]` are excluded, bool `[N, M]`."""
        if self.places.device != labels.device:
            self.to(labels.device)
        (rows, known), (ref_rows, ref_known) = self._find(labels), self._find(ref_labels.to(labels.device))
        gaps = (self.points[rows][:, None] - self.points[ref_rows][None, :]).float()
        near = gaps.square().sum(-1) < (1000 * self.radius) ** 2
        other = rows[:, None] != ref_rows[None, :]
        return near & other & known[:, None] & ref_known[None, :]

    def _find(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows of the tables, and which of them belong to a label."""
        places = labels.long().div(self.samples_per_place, rounding_mode="floor")
        rows = torch.searchsorted(self.places, places).clamp(max=len(self.places) - 1)
        return rows, self.places[rows] == places

    def extra_repr(self) -> str:
        return f"places={len(self.places)}, radius={self.radius}, samples_per_place={self.samples_per_place}"


class NearbyPlacesOfSets(nn.Module):
    """The pairs that the rule of any of several training sets excludes; each rule knows the places of its own set.

    Args:
        rules: of the sets, whose places are distinct.
    """

    def __init__(self, rules: Iterable[NearbyPlaces]):
        super().__init__()
        self.rules = nn.ModuleList(rules)

    @torch.no_grad()
    def forward(self, labels: Tensor, ref_labels: Tensor) -> Tensor:
        """Return which pairs of labels `[N]` and ref_labels `[M]` are excluded, bool `[N, M]`."""
        excluded = torch.zeros(len(labels), len(ref_labels), dtype=torch.bool, device=labels.device)
        for rule in self.rules:
            excluded |= rule(labels, ref_labels)
        return excluded
