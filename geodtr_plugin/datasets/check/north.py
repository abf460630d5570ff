"""Is north at the centre of the panoramas? Measured on the pictures, by turning each panorama over its own aerial."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.functional import resize

from ...augmentations.polar import PolarTransform
from ...utils.errors import UserError
from .findings import Finding, Inspection, fault, ok
from .images import choose_rows, roles_are_exchanged

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
        """The peak is no work of chance."""
        return self.score >= _CLEAR and (self.north or self.lead >= _SURE)

    @property
    def north(self) -> bool:
        """North is at the centre of the panoramas."""
        return not self.mirrored and abs(self.angle) <= _TOLERANCE


def check_north(data: Inspection) -> list[Finding]:
    """Find where north is in the panoramas of all splits together; nothing where no camera stands at its tile's centre.

    Exchanged roles are named by another check, and are not measured.
    """
    if not all(split.centred for split in data.splits) or roles_are_exchanged(data):
        return []
    panoramas, aerials = [], []
    for split in data.splits:
        for pair in choose_rows(len(split.pairs), -(-data.pairs // len(data.splits)), data.seed):
            query, reference = split.pairs[pair].tolist()
            try:
                panorama, aerial = split.queries.read(query), split.references.read(reference)
            except UserError:
                continue  # named by check_decoding
            panoramas.append(panorama_columns(panorama))
            aerials.append(aerial_columns(aerial))
    if len(panoramas) < _FEWEST:
        return [ok("north", f"not judged, {len(panoramas)} pairs are too few to see it ({_FEWEST} at least)")]
    return [judge(measure_alignment(torch.stack(panoramas), torch.stack(aerials)))]


def judge(alignment: Alignment) -> Finding:
    """Return the finding that an alignment means."""
    angle, mirrored = alignment.angle, alignment.mirrored
    measured = f"({alignment.pairs} pairs, {alignment.score:.1f} standard deviations above chance)"
    turn = f"{abs(angle):.0f} degrees {'right' if angle > 0 else 'left'} of it"
    if alignment.clear and alignment.north:
        return ok("north", f"at the centre of the panoramas, to {abs(angle):.1f} degrees {measured}")
    if not alignment.clear and alignment.pairs < _ENOUGH:
        return ok("north", f"not judged, these pairs show no clear angle {measured}")
    if not alignment.clear:
        text = f"panoramas and aerials are not aligned: they fit at no common angle {measured}"
        remedy = (
            "Look at some pairs with --picture FILE: every panorama must have north at its centre, its aerial at the "
            "top, and both must show the same place."
        )
    elif mirrored:
        also = "" if abs(angle) <= _TOLERANCE else f", and north is {turn} after mirroring"
        text = f"panoramas are mirrored{also}: west and east have changed places {measured}"
        remedy = "Flip every panorama (or every aerial, if those are mirrored) left to right."
    elif abs(angle) >= 180 - _TOLERANCE:
        text = f"panoramas are south-centred: north is at their edges {measured}"
        remedy = "Roll every panorama by half its width, so that north comes to the centre."
    else:
        text = f"panoramas are turned: north is not at their centre but {turn} {measured}"
        remedy = f"Roll every panorama by {abs(angle):.0f}/360 of its width to the {'left' if angle > 0 else 'right'}."
    return fault("north", text, remedy)


def panorama_columns(panorama: Tensor) -> Tensor:
    """Turn the ground half of a panorama, uint8 `[3, H, W]`, into numbers for each direction, `[F, 180]`."""
    return _columns(resize(panorama, [_HEIGHT, _WIDTH], antialias=True)[:, _HEIGHT // 2 :].float())


def aerial_columns(aerial: Tensor) -> Tensor:
    """Turn an aerial, uint8 `[3, H, W]`, into the numbers that a panorama at its centre would give, `[F, 180]`.

    An aerial that is no square is cropped to its middle.
    """
    side = min(aerial.shape[1:])
    top, left = ((length - side) // 2 for length in aerial.shape[1:])
    tile = resize(aerial[:, top : top + side, left : left + side], [_TILE, _TILE], antialias=True)
    return _columns(PolarTransform(_HEIGHT, _WIDTH)(tile[None])[0])


def measure_alignment(panoramas: Tensor, aerials: Tensor) -> Alignment:
    """Find where the mean correlation of the pairs peaks, over all angles, of the panoramas as stored and mirrored.

    What a panorama shares with everybody's aerials (streets that run north everywhere, the sun's side) says nothing
    about its heading: it is measured on the wrong pairings, and subtracted.

    Args:
        panoramas: of `panorama_columns`, `[N, F, 180]`.
        aerials: of `aerial_columns`, `[N, F, 180]`.
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
    """Return the pairs' mean correlation at every shift, in standard deviations of wrong pairings, `[180]`."""
    count = len(panoramas)
    spectra = torch.fft.rfft(panoramas), torch.fft.rfft(aerials).conj()
    every = torch.fft.irfft(torch.einsum("icf,jcf->ijf", *spectra), n=_WIDTH)
    rows = torch.arange(count)
    right = every[rows, rows].sum(0)
    common = (every.sum((0, 1)) - right) / (count * (count - 1))
    shuffled = [every[rows, torch.randperm(count, generator=draw)].mean(0) - common for _ in range(_SHUFFLES)]
    return (right / count - common) / torch.stack(shuffled).std().clamp_min(1e-9)


def _peak(curve: Tensor) -> float:
    """Return the place of the maximum of `[180]`, between the columns."""
    best = int(curve.argmax())
    beside = torch.arange(-_PEAK, _PEAK + 1)
    x = beside.double()
    powers = torch.stack([x**2, x, torch.ones_like(x)], dim=1)
    square, slope, _ = torch.linalg.lstsq(powers, curve[(best + beside) % _WIDTH].double()[:, None]).solution[:, 0]
    return best + max(-1.0, min(1.0, float(-slope / (2 * square)))) if square < 0 else best


def _columns(rows: Tensor) -> Tensor:
    """Turn rows `[3, h, W]` into `[4, W]` of zero mean and unit length: brightness, green, warmth, colourfulness.

    Four aspects of colour, because each world has its own: lawns and asphalt differ in green, roofs in warmth.
    """
    red, green, blue = rows
    features = torch.stack([rows.mean(0), green - (red + blue) / 2, red - blue, rows.amax(0) - rows.amin(0)]).mean(1)
    features = features - features.mean(1, keepdim=True)
    return features / features.norm(dim=1, keepdim=True).clamp_min(1e-6)
