"""How one scene of a wide world is seen: the size of its tiles, the mounts of its cameras, the angle from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .cameras import SKIES
from .panorama import PanoramaCamera, panorama_camera
from .spans import Spans
from .styles import StreetStyle

_RATIO = 1.03  # between the distances along a ray: coarser than in plain worlds, to pay for what captures cost
_SIGHT = 60.0  # metres that every panorama sees: scenes are as wide as that asks for, and cost by their area
_BEYOND = 1.1  # how far it sees, relative to the distance of its tile's edge
_ZONE = (165.0, 230.0)  # metres along the middle of a scene in which cameras stand, at least and at most
_ROADS = 1.6  # and relative to the distance between parallel roads: where there are too few, another scene is drawn


@dataclass(frozen=True)
class Rig:
    """How a panorama camera is mounted. All that is taken under one sky is taken with one rig.

    Attributes:
        up, down: elevation of the upper and lower edge, degrees.
        eye: height above the ground, metres.
        farthest: metres up to which it sees.
    """

    up: float
    down: float
    eye: float
    farthest: float

    def camera(self, height: int, width: int, rays: int, padding: int = 0) -> PanoramaCamera:
        """Return the camera for panoramas of one size, with `padding` more rows above and below."""
        more = padding * (self.up - self.down) / height
        view = self.up + more, self.down - more, self.eye, _RATIO, self.farthest
        return panorama_camera(height + 2 * padding, width, rays, *view)


@dataclass(frozen=True)
class Survey:
    """All that is the same for the pictures of one scene.

    Attributes:
        side: metres along a tile.
        rigs: one for each of the scene's skies.
        lean: metres (east, north) by which a point moves in the aerial picture for each metre of its height.
    """

    side: float
    rigs: tuple[Rig, ...]
    lean: tuple[float, float]


def draw_survey(rng: np.random.Generator, realism: float, spans: Spans) -> Survey:
    """Draw how a scene is seen; at realism 0 straight from above."""
    side = math.exp(rng.uniform(*np.log(spans.side)))
    lean, towards = realism * rng.uniform(*spans.lean), rng.uniform(0, 2 * math.pi)
    rigs = tuple(_draw_rig(rng, spans, farthest(side)) for _ in range(SKIES))
    return Survey(side, rigs, (lean * math.sin(towards), lean * math.cos(towards)))


def _draw_rig(rng: np.random.Generator, spans: Spans, far: float) -> Rig:
    view, share = rng.uniform(*spans.view), rng.uniform(*spans.horizon)
    return Rig(view * share, view * (share - 1), rng.uniform(*spans.eye), far)


def farthest(side: float) -> float:
    """Return the metres up to which a panorama sees, where a tile is `side` metres long: to its edge and beyond."""
    return max(_SIGHT, _BEYOND * side / 2)


def zone(streets: StreetStyle) -> float:
    """Return the metres along the middle of a scene in which cameras stand: room for some 30 places that lie apart."""
    return float(np.clip(_ROADS * sum(streets.spacing) / 2, *_ZONE))


def reach(side: float, shift: float, spans: Spans, realism: float) -> float:
    """Return the metres that a camera must keep from the scene's edge, so that no tile and no panorama leaves it.

    Args:
        side: metres along a tile.
        shift: metres by which a tile's centre may lie off its camera, on each axis.
    """
    turn = math.radians(max(spans.turn) * realism)
    corner = side / 2 * max(spans.zoom) ** realism * (math.cos(turn) + math.sin(turn))
    return max(farthest(side), corner + shift) + 2.0
