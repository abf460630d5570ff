"""Write a miniature University-1652, file for file in its format, so that tests need no download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trees import Picture, save_jpeg, smooth_noise

EMPTY_WEB_FOLDERS = ("1057", "1100")  # two of those that are empty in the release, and rightly so


def write_university1652(
    root: Path,
    train: Sequence[int] = (839, 842, 840, 851, 843),
    test: Sequence[int] = (2, 1, 7),
    distractors: Sequence[int] = (1000, 5),
    views: int = 4,
    picture: Picture = smooth_noise,
    size: tuple[int, int] = (32, 32),
) -> Path:
    """Write University-Release; the real images are 512 x 512, and a building has 54 drone views.

    Args:
        root: the folder that gets train and test.
        train: buildings of the train split.
        test: buildings that are asked for.
        distractors: buildings of the galleries that no query shows.
        views: drone views of a building.
        picture: draws the images; drone views are its "ground".
        size: (height, width).
    """
    for building in train:
        _write_drone(root / "train/drone", building, views, picture, size)
        _write_one(root / "train/satellite", building, "aerial", picture, size)
        _write_one(root / "train/street", building, "ground", picture, size)
    for building in test:
        _write_drone(root / "test/query_drone", building, views, picture, size)
        _write_one(root / "test/query_satellite", building, "aerial", picture, size)
    for building in (*test, *distractors):
        _write_drone(root / "test/gallery_drone", building, views, picture, size)
        _write_one(root / "test/gallery_satellite", building, "aerial", picture, size)
    for building in EMPTY_WEB_FOLDERS:
        (root / "train/google" / building).mkdir(parents=True, exist_ok=True)
    return root


def _write_drone(folder: Path, building: int, views: int, picture: Picture, size: tuple[int, int]) -> None:
    for view in range(1, views + 1):
        save_jpeg(folder / f"{building:04d}/image-{view:02d}.jpeg", picture("ground", 100 * building + view, *size))


def _write_one(folder: Path, building: int, role: str, picture: Picture, size: tuple[int, int]) -> None:
    save_jpeg(folder / f"{building:04d}/{building:04d}.jpg", picture(role, 100 * building, *size))
