"""What can be rendered scene by scene: cross-view worlds, and two drives through one."""

from __future__ import annotations

import numpy as np

from .drive_spec import DriveSpec
from .drives import render_drives
from .rendering import render_scene
from .spec import WorldSpec

Spec = WorldSpec | DriveSpec


def spec_of(manifest: dict) -> Spec:
    """The request that a manifest was written for."""
    return (DriveSpec if "view_size" in manifest else WorldSpec).from_manifest(manifest)


def render_part(spec: Spec, number: int, arrays: dict[str, np.ndarray]) -> int:
    """Fills the rows of the arrays that come from scene `number`; returns how many places were rendered."""
    return (render_drives if isinstance(spec, DriveSpec) else render_scene)(spec, number, arrays)
