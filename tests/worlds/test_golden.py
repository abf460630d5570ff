"""Pixels are those of the golden sheets until VERSION is raised. `python tests/worlds/test_golden.py` makes new sheets.

One sheet a style, from top to bottom: panoramas and tiles of the plain world, panoramas and tiles of the offset world,
photos of the drives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geodtr_plugin.worlds import DriveSpec, WorldSpec, list_worlds
from geodtr_plugin.worlds.spec import VERSION, Spec

SHEETS = Path(__file__).parent / "golden"
TOLERANCE = 0.003  # mean difference of levels: sines and powers of other CPUs move single pixels, 1e-5 in the mean


def render(spec: Spec) -> dict[str, np.ndarray]:
    arrays = {name: np.zeros(shape, dtype) for name, (shape, dtype) in spec.arrays().items()}
    spec.render_scene(0, arrays)
    return arrays


def draw_sheet(style: str) -> np.ndarray:
    """uint8 `[128, 128, 3]`."""
    plain, offset = (render(WorldSpec(style, "train", 4, (16, 64), 32, offset)) for offset in (False, True))
    drives = render(DriveSpec(style, "test", 2, (16, 32)))
    rows = (
        plain["query_images"][:2],
        plain["reference_images"],
        offset["query_images"][2:],
        offset["reference_images"][offset["truth"][2]],
        [*drives["query_images"], *drives["reference_images"][:2]],
        drives["reference_images"][2:6],
    )
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def file_of(style: str) -> Path:
    return SHEETS / f"{style}-v{VERSION}.png"


@pytest.mark.parametrize("style", list_worlds())
def test_pixels_change_only_with_the_version(style):
    assert file_of(style).exists(), "VERSION is new: run this file as a script and delete the older sheets"
    difference = np.abs(draw_sheet(style).astype(float) - np.asarray(Image.open(file_of(style))))
    assert difference.mean() < TOLERANCE, "pictures changed: raise VERSION in worlds/spec.py"


if __name__ == "__main__":
    for name in list_worlds():
        if file_of(name).exists():
            raise SystemExit(f"{file_of(name)} is there already. Raise VERSION first.")
        Image.fromarray(draw_sheet(name)).save(file_of(name), optimize=True)
