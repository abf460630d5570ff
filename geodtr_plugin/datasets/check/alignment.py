"""Is north at the centre of the panoramas? Measured on the pictures, by turning each panorama over its own aerial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.functional import resize

from ...augmentations.polar import PolarTransform
from ...utils.errors import UserError
from ..base import Split
from .looking import choose
from .report import Finding, fault, ok

PAIRS = 64  # looked at; with 24 the peak is already found in every synthetic world, to 4 degrees
_FEWEST = 6  # pairs; with fewer, any two pictures seem to fit at some angle
_ENOUGH = 48  # pairs; where so many show no common angle, they have none
_WIDTH = 180  # columns, two degrees each
_HEIGHT = 32  # rows of a panorama and of a polar aerial before they are averaged
_TILE = 128  # pixels along an aerial before the polar transform
_CLEAR = 4.5  # standard deviations above chance; the best of 360 angles reaches 4.3 once in a thousand times by chance
_SURE = 3.0  # standard deviations by which a wrong angle must beat the right one
_TOLERANCE = 10.0  # degrees; headings of single panoramas are no better
_SHUFFLES = 100  # wrong pairings that show what chance does
_PEAK = 5  # columns on either side of the best one to which a parabola is fitted


@dataclass(frozen=True)
class Alignment:
    """How panoramas lie over their aerials.

    Args:
        pairs: number of pairs measured.
        angle: degrees by which north is right of the panoramas' centre, above -180 and at most 180.
        mirrored: the panoramas fit better when east and west are exchanged.
        score: height of the peak in standard deviations of wrong pairings.
        lead: how much higher it is than the best score within the tolerance around north, as stored.
    """

    pairs: int
    angle: float
    mirrored: bool
    score: float
    lead: float

    @property
    def clear(self) -> bool:
        return self.score >= _CLEAR and (self.north or self.lead >= _SURE)

    @property
    def north(self) -> bool:
        return not self.mirrored and abs(self.angle) <= _TOLERANCE


def check_alignment(indexes: Sequence[Split], pairs: int = PAIRS, seed: int = 0) -> Finding:
    """Looks at up to `pairs` pairs of all splits together."""
    panoramas, aerials = [], []
    for index in indexes:
        for pair in choose(len(index.pairs), -(-pairs // len(indexes)), seed):
            query, reference = index.pairs[pair].tolist()
            try:
                panorama, aerial = index.queries.read(query), index.references.read(reference)
            except UserError:
                continue  # told by check_decoding
            panoramas.append(panorama_columns(panorama))
            aerials.append(aerial_columns(aerial))
    if len(panoramas) < _FEWEST:
        return ok("north", f"not judged, {len(panoramas)} pairs are too few to see it ({_FEWEST} at least)")
    return verdict(measure(torch.stack(panoramas), torch.stack(aerials)))


def verdict(found: Alignment) -> Finding:
    """The finding that tells what was measured."""
    measured = f"({found.pairs} pairs, {found.score:.1f} standard deviations above chance)"
    turn = f"{abs(found.angle):.0f} degrees {'right' if found.angle > 0 else 'left'} of it"
    if found.clear and found.north:
        return ok("north", f"at the centre of the panoramas, to {abs(found.angle):.1f} degrees {measured}")
    if not found.clear:
        if found.pairs < _ENOUGH:
            return ok("north", f"not judged, these pairs show no clear angle {measured}")
        return fault(
            "north",
            f"panoramas and aerials are not aligned: they fit at no common angle {measured}",
            "Look at some pairs with --picture FILE: every panorama must have north at its centre, its aerial at the "
            "top, and both must show the same place.",
        )
    if found.mirrored:
        also = "" if abs(found.angle) <= _TOLERANCE else f", and north is {turn} after mirroring"
        return fault(
            "north",
            f"panoramas are mirrored{also}: west and east have changed places {measured}",
            "Flip every panorama (or every aerial, if those are mirrored) left to right.",
        )
    if abs(found.angle) >= 180 - _TOLERANCE:
        return fault(
            "north",
            f"panoramas are south-centred: north is at their edges {measured}",
            "Roll every panorama by half its width, so that north comes to the centre.",
        )
    return fault(
        "north",
        f"panoramas are turned: north is not at their centre but {turn} {measured}",
        f"Roll every panorama by {abs(found.angle):.0f}/360 of its width to the "
        f"{'left' if found.angle > 0 else 'right'}.",
    )


def panorama_columns(panorama: Tensor) -> Tensor:
    """The ground half of a panorama, `[3, H, W]` uint8, as numbers for each direction, `[F, 180]`."""
    return _columns(resize(panorama, [_HEIGHT, _WIDTH], antialias=True)[:, _HEIGHT // 2 :].float())


def aerial_columns(aerial: Tensor) -> Tensor:
    """The same numbers from an aerial, seen from its centre; what is no square is cropped to its middle."""
    side = min(aerial.shape[1:])
    top, left = ((length - side) // 2 for length in aerial.shape[1:])
    tile = resize(aerial[:, top : top + side, left : left + side], [_TILE, _TILE], antialias=True)
    return _columns(PolarTransform(_HEIGHT, _WIDTH)(tile[None])[0])


def measure(panoramas: Tensor, aerials: Tensor) -> Alignment:
    """Where the mean correlation of the pairs peaks, over all angles, of the panoramas as stored and mirrored.

    What a panorama shares with everybody's aerials (streets that run north everywhere, the sun's side) says nothing
    about its heading: it is measured on the wrong pairings, and subtracted.

    Args:
        panoramas: `[N, F, 180]`.
        aerials: `[N, F, 180]`.
    """
    draw = torch.Generator().manual_seed(0)
    stored, mirrored = (_above_chance(p, aerials, draw) for p in (panoramas, panoramas.flip(-1)))
    # column j of a panorama covers the angles from j to j + 1 columns, that of a polar transform is at j
    around = int(_TOLERANCE / 360 * _WIDTH)
    at_north = torch.cat([stored[-around:], stored[: around + 1]]).max()
    flipped = bool(mirrored.max() > stored.max())
    best = mirrored if flipped else stored
    columns = _peak(best) + 0.5
    angle = (-columns if flipped else columns) * 360 / _WIDTH  # in the stored picture's own left and right
    return Alignment(
        len(panoramas), 180 - (180 - angle) % 360, flipped, float(best.max()), float(best.max() - at_north)
    )


def _above_chance(panoramas: Tensor, aerials: Tensor, draw: torch.Generator) -> Tensor:
    """Mean correlation of the pairs at every shift in standard deviations of wrong pairings, `[180]`."""
    count = len(panoramas)
    spectra = torch.fft.rfft(panoramas), torch.fft.rfft(aerials).conj()
    every = torch.fft.irfft(torch.einsum("icf,jcf->ijf", *spectra), n=_WIDTH)
    rows = torch.arange(count)
    own = every[rows, rows].sum(0)
    common = (every.sum((0, 1)) - own) / (count * (count - 1))
    shuffled = [every[rows, torch.randperm(count, generator=draw)].mean(0) - common for _ in range(_SHUFFLES)]
    return (own / count - common) / torch.stack(shuffled).std().clamp_min(1e-9)


def _peak(curve: Tensor) -> float:
    """Place of the maximum between the columns."""
    best = int(curve.argmax())
    beside = torch.arange(-_PEAK, _PEAK + 1)
    x = beside.double()
    powers = torch.stack([x**2, x, torch.ones_like(x)], dim=1)
    square, slope, _ = torch.linalg.lstsq(powers, curve[(best + beside) % _WIDTH].double()[:, None]).solution[:, 0]
    return best + max(-1.0, min(1.0, float(-slope / (2 * square)))) if square < 0 else best


def _columns(rows: Tensor) -> Tensor:
    """`[3, h, W]` -> `[4, W]` of zero mean and unit length: brightness, green, warmth and colourfulness, by column.

    Four views of colour, because each world has its own: lawns and asphalt differ in green, roofs in warmth.
    """
    red, green, blue = rows
    features = torch.stack(
        [rows.mean(0), green - (red + blue) / 2, red - blue, rows.amax(0) - rows.amin(0)],
    ).mean(1)
    features = features - features.mean(1, keepdim=True)
    return features / features.norm(dim=1, keepdim=True).clamp_min(1e-6)
