"""Are the images as large as the released ones, and are they what their role says?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...utils.roles import ROLE_FOLDERS
from ..registry import DatasetFacts
from .looking import Look
from .report import Finding, fault, listed, ok

# Relative difference of two ratios of width to height that still counts as the same picture, only resized. A panorama
# that somebody cropped already differs by a factor of two and more.
_SAME_SHAPE = 0.1

Size = tuple[int, int]


def check_decoding(looks: Sequence[Look], every: bool) -> Finding:
    """Did every image that was opened decode?"""
    broken = [look for look in looks if look.error]
    what = f"{'all ' if every else ''}{len(looks):,} images"
    if not broken:
        return ok("decoding", f"{what} decode{'' if every else ', chosen by the seed (--decode all opens every one)'}")
    more = f" Also broken: {listed(look.where for look in broken[1:])}." if len(broken) > 1 else ""
    return fault(
        "decoding",
        f"{len(broken):,} of {what} cannot be read. {broken[0].error}{more}",
        f"Extract or copy {broken[0].where} again"
        + (f" and the {len(broken) - 1:,} others named above." if broken[1:] else "."),
    )


def check_sizes(looks: Sequence[Look], facts: DatasetFacts) -> list[Finding]:
    """One finding a split: sizes as released, or resized all alike, and the two roles not exchanged."""
    findings = []
    for split in dict.fromkeys(look.split for look in looks):
        seen = {role: [k for k in looks if (k.split, k.role) == (split, role) and k.size] for role in ROLE_FOLDERS}
        seen = {role: some for role, some in seen.items() if some}
        findings.append(_swapped(split, seen, facts) or _wrong(split, seen, facts) or _sound(split, seen, facts))
    return findings


def _swapped(split: str, seen: dict[str, list[Look]], facts: DatasetFacts) -> Finding | None:
    """Panoramas where aerials should be, and the other way round."""
    if len(seen) < 2 or facts.ground is None or facts.aerial is None or _same_shape(facts.ground, facts.aerial):
        return None
    query, reference = (_usual(seen[role]) for role in ROLE_FOLDERS)
    if not _same_shape(query, facts.aerial) or _ratio(reference) < 1 + 2 * _SAME_SHAPE:
        return None
    return fault(
        "roles",
        f"the {split} queries are aerials ({_text(query)}, such as {seen['queries'][0].where}) and the references are "
        f"panoramas ({_text(reference)}): the two are swapped",
        f"Swap the two columns of the {split} list, or the two folders of images, so that panoramas are the queries.",
    )


def _wrong(split: str, seen: dict[str, list[Look]], facts: DatasetFacts) -> Finding | None:
    for role, looks in seen.items():
        released = _released(role, facts)
        if released is None:  # own data may have any sizes
            continue
        usual = released if any(look.size == released for look in looks) else _usual(looks)
        if not _same_shape(usual, released):
            usual = released
        odd = [look for look in looks if look.size != usual]
        if odd:
            more = f"; {len(odd):,} of the {len(looks):,} {split} {role} looked at are wrong" if odd[1:] else ""
            return fault(
                "sizes",
                f"{odd[0].where} is {_text(odd[0].size)}, not {_text(usual)} (height x width){more}",
                f"Put the released image back in the place of {odd[0].where}"
                + (f", and of the {len(odd) - 1:,} others." if odd[1:] else "."),
            )
    return None


def _sound(split: str, seen: dict[str, list[Look]], facts: DatasetFacts) -> Finding:
    return ok("sizes", f"{split}: " + "; ".join(_describe(role, looks, facts) for role, looks in seen.items()))


def _describe(role: str, looks: list[Look], facts: DatasetFacts) -> str:
    sizes, released = {look.size for look in looks}, _released(role, facts)
    if len(sizes) > 1:
        heights, widths = zip(*sizes)
        return f"{role} from {_text((min(heights), min(widths)))} to {_text((max(heights), max(widths)))}"
    (size,) = sizes
    resized = f" (resized; released as {_text(released)})" if released not in (None, size) else ""
    return f"{role} {_text(size)}{resized}"


def _released(role: str, facts: DatasetFacts) -> Size | None:
    return facts.ground if role == "queries" else facts.aerial


def _usual(looks: list[Look]) -> Size:
    return Counter(look.size for look in looks).most_common(1)[0][0]


def _ratio(size: Size) -> float:
    return size[1] / size[0]


def _same_shape(one: Size, other: Size) -> bool:
    return abs(_ratio(one) / _ratio(other) - 1) <= _SAME_SHAPE


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
