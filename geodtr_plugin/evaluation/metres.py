"""How far the place that a model answers lies from the true one."""

from __future__ import annotations

import numpy as np

from ..utils.geo import distances

BELOW = (5, 10, 25, 50)  # metres: thresholds whose shares are told
RADIUS = 6_371_004.0  # metres: that of the earth in VIGOR's code


def errors_in_metres(answered: np.ndarray, true: np.ndarray, kind: str) -> np.ndarray:
    """Return the distances between answered and true places, float64 `[N]`; NaN where either is not known.

    Args:
        answered: coordinates `[N, 2]`.
        true: likewise.
        kind: "latlon" (degrees; great-circle distances, by the haversine formula) or "metres" (a plane).
    """
    return distances(answered, true, kind, RADIUS)


def displaced(centres: np.ndarray, kind: str, offsets: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Return the places at some offsets in tiles, coordinates `[N, 2]` of the kind of the centres.

    Args:
        centres: of the tiles, `[N, 2]`: degrees of latitude and longitude, or metres east and north.
        kind: "latlon" or "metres".
        offsets: (down, right) in parts of a tile's side, `[N, 2]`.
        sides: metres along the tiles `[N]`.
    """
    south, east = (offsets * sides[:, None]).T
    if kind == "metres":
        return centres + np.stack([east, -south], axis=1)
    per_degree = np.radians(1) * RADIUS
    return centres + np.stack([-south / per_degree, east / (per_degree * np.cos(np.radians(centres[:, 0])))], axis=1)


def summarise_errors(errors: np.ndarray, suffix: str = "") -> dict[str, float]:
    """Return the median error in metres and the shares of queries in percent whose error is below each of BELOW.

    Args:
        errors: in metres, `[N]`; what is not finite is left out, and counted in no share.
        suffix: of the names.
    """
    known = errors[np.isfinite(errors)]
    if not len(known):
        return {}
    shares = {f"below_{limit}_metres{suffix}": round(100 * float(np.mean(known < limit)), 4) for limit in BELOW}
    return {f"median_metres{suffix}": round(float(np.median(known)), 4), **shares}
