"""Under which conditions robustness is measured: what each does to the queries, or to the references, of a test set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..augmentations import IMAGENET_MEAN
from ..augmentations.corruptions import CORRUPTIONS, SEED, SEVERITIES, corrupt, draw_corruption
from ..augmentations.field_of_view import narrow_width
from ..augmentations.tilt import tilted
from ..datasets import Split
from ..datasets.changed import Change, ChangedImages
from ..harness.orientation import HEADINGS_SEED
from ..utils.errors import UnknownNameError
from ..utils.seed import rng_of
from ..worlds import LOOKS
from ..worlds.panorama import DOWN, UP

PROTOCOL = 1  # raise it whenever a condition changes: numbers of an earlier one are then measured anew
FOVS = (360, 180, 90, 70)  # degrees of the panorama that are known
SHIFTS = (5, 10, 15, 20)  # percent of the tile's side by which its centre is missed
TILTS = (2, 4, 8, 12)  # degrees
SCALES = (90, 80, 70, 60, 50)  # percent of the tile's side that are left of it
C_ALL = "c_all"
GROUPS = (*CORRUPTIONS, C_ALL, "fov", "shift", "tilt", "scale", "look")
PUBLISHED = {  # R@1 of GeoDTR on C-ALL in percent, trained on the same set; Zhang and Zhu, ECCV 2024
    "cvusa": 84.6,
    "cvact": 77.4,
    "cvact-val": 77.4,
}
_TILT, _SHIFT = 2, 3  # streams of random numbers; the corruptions' are 0 and 1
_UNKNOWN = np.array([round(255 * mean) for mean in IMAGENET_MEAN], np.uint8)  # what stands for what a query lacks


@dataclass(frozen=True)
class Condition:
    """One way in which a test set is made harder.

    Args:
        group: of GROUPS.
        name: of the kind, such as "glass_blur".
        level: how strong, in `unit`; 0 where there is one strength only.
        unit: of the level.
        change: makes a test set of a test set.
    """

    group: str
    name: str
    level: float
    unit: str
    change: Callable[[Split], Split]

    @property
    def key(self) -> str:
        """What results call it."""
        return f"{self.group}/{self.name}" + (f"/{self.level:g}" if self.level else "")

    @property
    def words(self) -> str:
        """What people call it: "glass blur, severity 3", "tile cropped, 90 % of its side"."""
        name = "C-ALL" if self.group == C_ALL else self.name.replace("_", " ")
        if not self.level:
            return name
        level = f"{self.level:g} {self.unit}" if self.unit != "severity" else f"severity {self.level:g}"
        return f"{name}, {level}"


def conditions(
    groups: Sequence[str], severities: Sequence[int] = SEVERITIES, at_look: Callable[[str], Split] | None = None
) -> Iterator[Condition]:
    """Yield the conditions of some groups, in the order of GROUPS.

    Args:
        groups: names of GROUPS, or of single kinds of corruption.
        severities: of the corruptions.
        at_look: returns the test set at a look of LOOKS; None: it is no synthetic world, and has none.

    Raises:
        UnknownNameError: there is no such group.
    """
    kinds = {kind: group for group, kinds in CORRUPTIONS.items() for kind in kinds}
    if unknown := [name for name in groups if name not in GROUPS and name not in kinds]:
        raise UnknownNameError("kind of condition", unknown[0], [*GROUPS, *kinds])
    for kind, group in kinds.items():
        if group in groups or kind in groups:
            for severity in severities:
                change = partial(_queries, partial(_corrupted, kind, severity))
                yield Condition(group, kind, severity, "severity", change)
    if C_ALL in groups:
        yield Condition(C_ALL, C_ALL, 0, "", partial(_queries, _corrupted_by_draw))
    if "fov" in groups:
        for name, known in (("known heading", True), ("unknown heading", False)):
            for fov in FOVS[1:] if known else FOVS:
                yield Condition("fov", name, fov, "degrees", partial(_narrowed, fov, known))
    if "shift" in groups:
        for share in SHIFTS:
            yield Condition("shift", "tile off centre", share, "% of its side", partial(_references, share, _shifted))
    if "tilt" in groups:
        for degrees in TILTS:
            yield Condition("tilt", "camera tilted", degrees, "degrees", partial(_tilted, degrees))
    if "scale" in groups:
        for share in SCALES:
            yield Condition("scale", "tile cropped", share, "% of its side", partial(_references, share, _cropped))
    if "look" in groups and at_look is not None:
        for look in LOOKS:
            yield Condition("look", look, 0, "", partial(_looking, look, at_look))


def heading_schedule(count: int) -> np.ndarray:
    """Return by which shares of a turn queries of unknown heading look elsewhere than north, float64 `[count]`.

    It depends on nothing but the row of the query, so that it is the same for all methods, and as in the tests of
    `--view.heading random`.
    """
    return np.random.default_rng(HEADINGS_SEED).random(count)


def visible_part(panorama: np.ndarray, fov: float, turn: float = 0.0) -> np.ndarray:
    """Return a panorama, uint8 `[H, W, 3]`, of which a part around the centre is known; the rest is grey.

    Args:
        panorama: the full circle.
        fov: degrees that are known.
        turn: share of a turn by which the camera looks further to the right.
    """
    columns = panorama.shape[1]
    width = narrow_width(columns, fov)
    begin = (columns - width) // 2
    seen = np.empty_like(panorama)
    seen[:] = _UNKNOWN
    seen[:, begin : begin + width] = np.roll(panorama, -int(turn * columns), 1)[:, begin : begin + width]
    return seen


def moved(tile: np.ndarray, down: int, right: int) -> np.ndarray:
    """Return what a tile, uint8 `[S, S, 3]`, shows around another centre; what it does not hold is mirrored."""
    reach = max(abs(down), abs(right))
    padded = np.pad(tile, ((reach, reach), (reach, reach), (0, 0)), "reflect")
    return padded[reach + down : reach + down + len(tile), reach + right : reach + right + tile.shape[1]]


def vertical_degrees(split: Split, height: int, width: int) -> float:
    """Return what panoramas show from top to bottom: rendered ones 65.5 degrees, others have square pixels."""
    return UP - DOWN if split.layout == "rendered" else min(180.0, 360 * height / width)


def _queries(change: Change, split: Split) -> Split:
    return replace(split, queries=ChangedImages(split.queries, change))


def _references(share: float, change: Callable[..., np.ndarray], split: Split) -> Split:
    return replace(split, references=ChangedImages(split.references, partial(change, share)))


def _corrupted(kind: str, severity: int, image: np.ndarray, name: str, row: int) -> np.ndarray:
    return corrupt(image, kind, severity, name)


def _corrupted_by_draw(image: np.ndarray, name: str, row: int) -> np.ndarray:
    return corrupt(image, *draw_corruption(name), name)


def _narrowed(fov: float, known: bool, split: Split) -> Split:
    turns = None if known else heading_schedule(len(split.queries))
    return _queries(partial(_part, fov, turns), split)


def _part(fov: float, turns: np.ndarray | None, image: np.ndarray, name: str, row: int) -> np.ndarray:
    return visible_part(image, fov, 0.0 if turns is None else float(turns[row]))


def _tilted(degrees: float, split: Split) -> Split:
    return _queries(partial(_tilt, degrees, partial(vertical_degrees, split)), split)


def _tilt(degrees: float, shown: Callable[[int, int], float], image: np.ndarray, name: str, row: int) -> np.ndarray:
    towards = rng_of(name, SEED, _TILT).uniform(0, 360)
    return tilted(image, degrees, towards, shown(*image.shape[:2]))


def _shifted(share: float, image: np.ndarray, name: str, row: int) -> np.ndarray:
    angle = rng_of(name, SEED, _SHIFT).uniform(0, 2 * np.pi)
    return moved(image, *(round(share / 100 * len(image) * way) for way in (np.cos(angle), np.sin(angle))))


def _cropped(share: float, image: np.ndarray, name: str, row: int) -> np.ndarray:
    """Return the middle of a tile, at its own size, so that batches and transforms meet what they are used to."""
    from PIL import Image

    edge = len(image) * (1 - share / 100) / 2
    box = (edge, edge, image.shape[1] - edge, len(image) - edge)
    return np.asarray(Image.fromarray(image).resize(image.shape[1::-1], Image.Resampling.BILINEAR, box))


def _looking(look: str, at_look: Callable[[str], Split], split: Split) -> Split:
    return at_look(look)
