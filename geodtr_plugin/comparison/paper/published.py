"""Tables IV to VIII of the GeoDTR+ paper: the variants that they compare, and their R@1."""

from __future__ import annotations

from collections.abc import Mapping

from .sets import Column

TWICE = "batch-size=64"  # of the paper's 32; on other batches, twice theirs
Numbers = Mapping[str, Mapping[str, tuple[float, float]]]  # options -> training set -> R@1 on it and on the other set

# the paper's v1 without CHSG are GeoDTR's own numbers, which were trained with LS
TABLE_4: Numbers = {
    f"model.extractor={extractor}:backbone={trunk}:chsg={chsg}": {"cvusa": cvusa, "cvact": cvact}
    for extractor, trunk, chsg, cvusa, cvact in (
        ("v1", "resnet34", "raw", (95.43, 53.16), (86.21, 44.07)),
        ("v1", "resnet34", "l+s", (94.97, 57.03), (86.48, 50.63)),
        ("v2", "resnet34", "raw", (94.88, 54.05), (85.86, 45.44)),
        ("v2", "resnet34", "l+s", (94.26, 59.72), (86.19, 49.09)),
        ("v2", "convnext_tiny", "raw", (95.77, 53.65), (88.18, 42.11)),
        ("v2", "convnext_tiny", "l+s", (95.40, 61.17), (87.61, 53.89)),
    )
}
TABLE_5: Numbers = {
    "model.descriptors=8": {"cvusa": (95.40, 61.17), "cvact": (87.61, 53.89)},
    "model.descriptors=6": {"cvusa": (95.09, 60.73), "cvact": (87.05, 53.61)},
    "model.descriptors=4": {"cvusa": (94.57, 60.21), "cvact": (86.85, 52.75)},
    "model.descriptors=2": {"cvusa": (93.59, 59.21), "cvact": (86.22, 50.68)},
}
TABLE_6: Numbers = {
    "chsg=raw": {"cvusa": (95.77, 53.65)},
    "chsg=ls": {"cvusa": (95.90, 58.62)},
    f"chsg=ls:{TWICE}": {"cvusa": (96.24, 57.18)},
    "chsg=l+s": {"cvusa": (95.40, 61.17)},
}
TABLE_8: Numbers = {
    "chsg=raw": {"cvusa": (95.77, 53.65)},
    "chsg=s": {"cvusa": (94.78, 55.77)},
    "chsg=s+same-l": {"cvusa": (95.62, 59.16)},
    "chsg=l": {"cvusa": (95.52, 58.09)},
    "chsg=same-s+l": {"cvusa": (95.55, 59.46)},
    "chsg=l+s": {"cvusa": (95.40, 61.17)},
}
OTHER = {"cvusa": "cvact", "cvact": "cvusa"}


def cells_of(numbers: Mapping[str, tuple[float, float]]) -> dict[Column, dict[str, float]]:
    """Return R@1 of a table's line by training set and test set."""
    cells: dict[Column, dict[str, float]] = {}
    for trained, (same, cross) in numbers.items():
        cells[trained, trained] = {"recall_at_1": same}
        cells[trained, OTHER[trained]] = {"recall_at_1": cross}
    return cells
