"""Are drone views and satellite images in each other's folders? Their sizes are the same; their numbers are not."""

from __future__ import annotations

from pathlib import Path

from ...utils.roles import ROLE_FOLDERS
from ..base import Split
from ..images import Images
from .report import Finding, fault


def check_views(index: Split) -> Finding | None:
    """A building has many drone views and one satellite image; None where that is so, or where there are no such."""
    views = {}
    for role, places in zip(ROLE_FOLDERS, (index.query_places, index.reference_places)):
        folder = _folder(getattr(index, role))
        if folder is not None:
            kind = next((kind for kind in ("drone", "satellite") if kind in folder.name), None)
            views[kind] = len(places), len(set(places.tolist())), folder
    if not {"drone", "satellite"} <= set(views):
        return None
    (many, seen, drone), (few, buildings, satellite) = views["drone"], views["satellite"]
    if many / seen >= few / buildings:
        return None
    return fault(
        "roles",
        f"{drone} holds {many:,} images of {seen:,} buildings and {satellite} {few:,} of {buildings:,}, but a building "
        "has many drone views and one satellite image: the two are swapped",
        f"Let {drone} and {satellite} change names.",
    )


def _folder(images: Images) -> Path | None:
    """The folder of the buildings' folders."""
    path = images.path(0)
    return None if path is None else path.parent.parent
