"""Do images decode, are they as large as the released ones, and are they what their role says?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from ...utils.errors import UserError
from ...utils.roles import ROLE_FOLDERS
from ..base import Split
from ..registry import DatasetFacts
from .findings import Finding, Inspection, OpenedImage, fault, first_few, ok

_BAR_FROM = 1000  # images; fewer are opened before anybody wonders
# Relative difference of two ratios of width to height that still counts as the same picture, only resized. A panorama
# that somebody cropped already differs by a factor of two and more.
_SAME_SHAPE = 0.1

Size = tuple[int, int]


def open_images(splits: Sequence[Split], count: int | None, seed: int = 0) -> list[OpenedImage]:
    """Open `count` images of every role of every split, chosen by the seed (None: all), and no file twice."""
    chosen: dict[str, tuple[Split, str, int]] = {}
    for split in splits:
        for role in ROLE_FOLDERS:
            for row in choose_rows(len(getattr(split, role)), count, seed):
                chosen.setdefault(_name(split, role, row), (split, role, row))
    bar = tqdm(chosen.items(), desc="decoding", unit="image", disable=len(chosen) < _BAR_FROM)
    return [_open(split, role, row, name) for name, (split, role, row) in bar]


def choose_rows(total: int, count: int | None, seed: int) -> list[int]:
    """Choose some of the rows 0 ... total - 1, in ascending order, the first one among them; None: all."""
    if count is None or count >= total:
        return list(range(total))
    others = np.random.default_rng(seed).choice(np.arange(1, total), max(count - 1, 0), replace=False)
    return [0, *sorted(others.tolist())][:count]


def _name(split: Split, role: str, row: int) -> str:
    images = getattr(split, role)
    path = images.path(row)
    return str(path) if path is not None else f"image {row} ({images.ids[row]}) of the {split.split} {role}"


def _open(split: Split, role: str, row: int, name: str) -> OpenedImage:
    images = getattr(split, role)
    try:
        height, width = images.whole(row).shape[1:]
    except UserError as error:
        return OpenedImage(split.split, role, name, (0, 0), str(error))
    return OpenedImage(split.split, role, name, (height, width))


def check_decoding(data: Inspection) -> list[Finding]:
    """Name the images that were opened and do not decode."""
    broken = [image for image in data.images if image.error]
    there = " that are there" if data.opened_all and data.incomplete else ""
    what = f"{'all ' if data.opened_all else ''}{len(data.images):,} images{there}"
    if not broken:
        chosen = "" if data.opened_all else ", chosen by the seed (--decode all opens every one)"
        return [ok("decoding", f"{what} decode{chosen}")]
    first, others = broken[0], broken[1:]
    also = f" Also broken: {first_few(image.name for image in others)}." if others else ""
    again = f" and the {len(others):,} others named above" if others else ""
    text = f"{len(broken):,} of {what} cannot be read. {first.error}{also}"
    return [fault("decoding", text, f"Extract or copy {first.name} again{again}.")]


def check_sizes(data: Inspection) -> list[Finding]:
    """Compare the sizes of opened images, split by split, with the released ones, and name exchanged roles."""
    findings = []
    for split, by_role in _by_split(data.images).items():
        exchanged = _exchanged_roles(split, by_role, data.facts)
        findings.append(exchanged or _wrong_size(split, by_role, data.facts) or _sizes(split, by_role, data.facts))
    return findings


def roles_are_exchanged(data: Inspection) -> bool:
    """Tell whether panoramas lie where aerials should be, in some split."""
    splits = _by_split(data.images)
    return any(_exchanged_roles(split, by_role, data.facts) for split, by_role in splits.items())


def _by_split(images: Sequence[OpenedImage]) -> dict[str, dict[str, list[OpenedImage]]]:
    """Return the images that decode by split and role, without roles of which there is none."""
    splits: dict[str, dict[str, list[OpenedImage]]] = {image.split: {} for image in images}
    for role in ROLE_FOLDERS:
        for image in images:
            if image.role == role and not image.error:
                splits[image.split].setdefault(role, []).append(image)
    return splits


def _exchanged_roles(split: str, by_role: dict[str, list[OpenedImage]], facts: DatasetFacts) -> Finding | None:
    if len(by_role) < 2 or facts.ground is None or facts.aerial is None or _same_shape(facts.ground, facts.aerial):
        return None
    query, reference = (_usual(by_role[role]) for role in ROLE_FOLDERS)
    if not _same_shape(query, facts.aerial) or _ratio(reference) < 1 + 2 * _SAME_SHAPE:
        return None
    return fault(
        "roles",
        f"the {split} queries are aerials ({_text(query)}, such as {by_role['queries'][0].name}) and the references "
        f"are panoramas ({_text(reference)}): the two are swapped",
        f"Swap the two columns of the {split} list, or the two folders of images, so that panoramas are the queries.",
    )


def _wrong_size(split: str, by_role: dict[str, list[OpenedImage]], facts: DatasetFacts) -> Finding | None:
    for role, images in by_role.items():
        released = _released(role, facts)
        if released is None:  # own data may have any sizes
            continue
        usual = released if any(image.size == released for image in images) else _usual(images)
        if not _same_shape(usual, released):
            usual = released
        odd = [image for image in images if image.size != usual]
        if odd:
            more = f"; {len(odd):,} of the {len(images):,} {split} {role} looked at are wrong" if odd[1:] else ""
            others = f", and of the {len(odd) - 1:,} others" if odd[1:] else ""
            return fault(
                "sizes",
                f"{odd[0].name} is {_text(odd[0].size)}, not {_text(usual)} (height x width){more}",
                f"Put the released image back in the place of {odd[0].name}{others}.",
            )
    return None


def _sizes(split: str, by_role: dict[str, list[OpenedImage]], facts: DatasetFacts) -> Finding:
    parts = []
    for role, images in by_role.items():
        sizes, released = {image.size for image in images}, _released(role, facts)
        if len(sizes) > 1:
            heights, widths = zip(*sizes)
            smallest, largest = (min(heights), min(widths)), (max(heights), max(widths))
            parts.append(f"{role} from {_text(smallest)} to {_text(largest)}")
        else:
            (size,) = sizes
            resized = f" (resized; released as {_text(released)})" if released not in (None, size) else ""
            parts.append(f"{role} {_text(size)}{resized}")
    return ok("sizes", f"{split}: {'; '.join(parts)}")


def _released(role: str, facts: DatasetFacts) -> Size | None:
    return facts.ground if role == "queries" else facts.aerial


def _usual(images: list[OpenedImage]) -> Size:
    return Counter(image.size for image in images).most_common(1)[0][0]


def _ratio(size: Size) -> float:
    return size[1] / size[0]


def _same_shape(one: Size, other: Size) -> bool:
    return abs(_ratio(one) / _ratio(other) - 1) <= _SAME_SHAPE


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
