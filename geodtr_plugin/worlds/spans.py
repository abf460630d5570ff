"""From which numbers the cameras of a wide world are drawn, all in one place."""

from __future__ import annotations

from dataclasses import dataclass

from .styles import Span


@dataclass(frozen=True)
class Spans:
    """Smallest and largest values; drawn uniformly between them if not said otherwise.

    The first group is exact and turns along with the scene. The others are what a capture adds: realism scales them, or
    is the power of what is a factor.
    """

    # geometry: a tile's side for each scene, the rest for each of its rigs
    side: Span = (55.0, 180.0)  # metres along a tile, uniform in the logarithm: VIGOR 73, CVACT 145, CVUSA 170
    view: Span = (60.0, 96.0)  # vertical field of view, degrees: CVUSA 65, the middle half of CVACT 90
    horizon: Span = (0.43, 0.60)  # share of the view above the horizon: CVUSA 0.55, CVACT 0.5
    eye: Span = (1.5, 3.2)  # height of the camera, metres: from a tripod to the roof of a van

    # where and how the camera stood
    centre: Span = (0.0, 0.02)  # error of the tile's centre besides that of the position, share of the side
    tilt: Span = (0.0, 3.5)  # degrees off the vertical, towards a random side
    lenses: tuple[int, int] = (4, 8)  # pictures that a panorama is stitched from
    seam_gain: Span = (0.0, 0.2)  # spread of the exposure from lens to lens, logarithm; mostly small
    seam_width: Span = (0.0, 0.05)  # over which two lenses are blended, share of the circle
    seam_shift: Span = (0.0, 0.6)  # spread of the lenses' height, degrees
    vignette: Span = (0.0, 0.25)  # share of the light that the corners of a lens lose
    cap: Span = (0.0, 0.12)  # height of the patch over the camera's own mount, share of the picture
    capped: float = 0.3  # share of panoramas that have one
    flare: Span = (0.0, 0.8)  # how much of the sky around the sun is burnt out

    # both cameras
    metering: float = 0.6  # how much of what a picture lacks to mean brightness its exposure makes up for; 1 is all
    tones: float = 0.17  # spread of exposure and contrast, as in `draw_tones`
    cast: float = 0.28  # spread of colour casts, relative to that of exposure
    saturation: Span = (0.45, 1.3)  # 0 would be grey, 1 as rendered
    veil: Span = (0.0, 0.28)  # share of a picture that is haze or stray light; mostly small
    sharpness: Span = (-0.18, 0.09)  # below 0 blurred, above 0 sharpened; see `sharpen`
    noise: Span = (0.0, 6.0)  # of the sensor, levels; mostly small
    quality: Span = (40.0, 95.0)  # of the JPEG
    compressed: float = 0.5  # share of the pictures that show it; others were stored at a higher resolution

    # the aerial camera
    turn: Span = (-3.0, 3.0)  # degrees
    zoom: Span = (0.95, 1.05)  # metres along a single tile, relative to those of its scene
    detail: Span = (0.45, 1.2)  # resolution, relative to the tile's; above 1 it is the tile's own
    lean: Span = (0.0, 0.35)  # metres by which a roof moves for each metre of its height; one direction a scene


WIDE = Spans()
