"""What a real capture does to the exact world: errors of position and heading, colours of each camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POSITION_ERROR = 2.0  # metres, standard deviation on each axis, at realism 1
HEADING_ERROR = 4.0  # degrees, standard deviation, at realism 1
COLOUR_ERROR = 0.12  # relative spread of exposure and contrast, at realism 1
CAST = 0.4  # spread of colour casts, relative to that of exposure
_FARTHEST = 3.0  # errors beyond this many standard deviations are clipped


@dataclass(frozen=True)
class Capture:
    """How one panorama was taken.

    Attributes:
        shift: metres (east, north) from the true place to the recorded one.
        heading: degrees by which the camera was turned to the left: content moves right.
        tones: uint8 `[256, 3]`, what the camera makes of each level.
    """

    shift: tuple[float, float]
    heading: float
    tones: np.ndarray

    def apply(self, panorama: np.ndarray) -> np.ndarray:
        """Return a panorama, uint8 `[H, W, 3]`, as this capture would store it: turned by whole columns, and toned."""
        columns = round(self.heading / 360 * panorama.shape[1])
        return apply_tones(np.roll(panorama, columns, axis=1), self.tones)


def draw_capture(rng: np.random.Generator, realism: float) -> Capture:
    """Draw a random capture, which is exact at realism 0."""
    east, north, heading = np.clip(rng.standard_normal(3), -_FARTHEST, _FARTHEST) * realism
    shift = (float(east * POSITION_ERROR), float(north * POSITION_ERROR))
    return Capture(shift, float(heading * HEADING_ERROR), draw_tones(rng, realism))


def draw_tones(
    rng: np.random.Generator, realism: float, spread: float = COLOUR_ERROR, cast: float = CAST
) -> np.ndarray:
    """Draw random exposure, contrast and colour cast as tones, uint8 `[256, 3]`; the identity at realism 0."""
    exposure, contrast, *casts = np.clip(rng.standard_normal(5), -_FARTHEST, _FARTHEST) * (spread * realism)
    gain = np.exp(exposure + cast * np.array(casts))
    levels = (np.arange(256) / 255)[:, None] ** np.exp(contrast)
    return np.clip(np.rint(255 * levels * gain), 0, 255).astype(np.uint8)


def apply_tones(picture: np.ndarray, tones: np.ndarray) -> np.ndarray:
    """Return a picture, uint8 `[..., 3]`, with every channel looked up in its column of `tones`."""
    return np.stack([tones[:, channel].take(picture[..., channel]) for channel in range(3)], axis=-1)
