"""Write miniature copies of real data sets, file for file in their format, so that tests need no download."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

# (role "ground" or "aerial", number of the place, height, width) -> uint8 [height, width, 3]
Picture = Callable[[str, int, int, int], np.ndarray]

NEVER_RELEASED = "1LqOHPdTiBbRucz-jFOSbQ"


def smooth_noise(role: str, place: int, height: int, width: int) -> np.ndarray:
    """Colour patches that differ by place and role, and survive JPEG."""
    patches = np.random.default_rng([place, role == "ground"]).integers(0, 256, (3, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(patches).resize((width, height), Image.Resampling.BILINEAR))


def save_jpeg(path: Path, pixels: np.ndarray) -> None:
    """Write a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "JPEG", quality=95)


def write_cvusa(
    root: Path,
    train: Sequence[int] = (3, 1, 7, 2, 8, 9),
    val: Sequence[int] = (5, 4, 6),
    picture: Picture = smooth_noise,
    ground_size: tuple[int, int] = (24, 123),
    aerial_size: tuple[int, int] = (75, 75),
    line_end: str = "\n",
    slash: str = "/",
    locations: np.ndarray | None = None,
    locations_file: str = "split_locations/all.csv",
) -> Path:
    """Write the CVPR subset of CVUSA; the real sizes are 224 x 1232 and 750 x 750.

    Args:
        root: the folder that gets bingmap, streetview and splits.
        train: ids of the train split, in the order of its list.
        val: ids of the val split.
        picture: draws the images.
        ground_size: (height, width).
        aerial_size: (height, width).
        line_end: ends the lines of the lists.
        slash: separates the folders in the lists.
        locations: all.csv, `[ids, 5]`; None writes none.
        locations_file: where it goes.
    """
    for split, ids in {"train": train, "val": val}.items():
        lines = []
        for place in ids:
            aerial, ground = f"bingmap/19/{place:07d}.jpg", f"streetview/panos/{place:07d}.jpg"
            save_jpeg(root / aerial, picture("aerial", place, *aerial_size))
            save_jpeg(root / ground, picture("ground", place, *ground_size))
            lines.append(f"{aerial},{ground},streetview/annotations/{place:07d}.png".replace("/", slash))
        path = root / f"splits/{split}-19zl.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(line + line_end for line in lines).encode())
    if locations is not None:
        (root / locations_file).parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(root / locations_file, locations, fmt="%.6f", delimiter=",")
    return root


def cvusa_locations(num_ids: int) -> np.ndarray:
    """all.csv for the ids 1 ... num_ids: two positions (latitude, longitude) and a heading, all different."""
    draw = np.random.default_rng(0)
    latitude, longitude = draw.uniform(25, 49, num_ids), draw.uniform(-124, -67, num_ids)
    near = draw.uniform(-1e-4, 1e-4, (num_ids, 2))
    heading = draw.uniform(0, 360, num_ids)
    return np.stack([latitude, longitude, latitude + near[:, 0], longitude + near[:, 1], heading], axis=1).round(6)


def panorama_ids(count: int) -> list[str]:
    """Ids of 22 characters as CVACT has them; some begin with a dash or an underscore, as real ones do."""
    letters = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    draw = np.random.default_rng(0)
    starts = ["-", "_", "__-", "a", "0"]
    return [(starts[i % 5] + "".join(draw.choice(letters, 22)))[:22] for i in range(count)]


def write_cvact(
    root: Path,
    num_train: int = 6,
    num_val: int = 4,
    num_test: int = 2,
    picture: Picture = smooth_noise,
    ground_size: tuple[int, int] = (64, 128),
    aerial_size: tuple[int, int] = (60, 60),
    utm: np.ndarray | None = None,
    mat_file: str | None = "ACT_data.mat",
    never_released: bool = False,
) -> list[str]:
    """Write CVACT; the real sizes are 832 x 1664 and 1200 x 1200.

    As in the real archives, ANU_data_small has train and val, ANU_data_test has val and test, and ACT_data.mat names
    more panoramas than have images.

    Args:
        root: the folder that gets ANU_data_small and ANU_data_test.
        num_train: pairs of trainSet.
        num_val: pairs of valSet.
        num_test: pairs that valSetAll has besides.
        picture: draws the images; a place is numbered by its row in ACT_data.mat.
        ground_size: (height, width) of the full sphere.
        aerial_size: (height, width).
        utm: metres east and north, `[rows, 2]`; drawn at random by default.
        mat_file: where ACT_data.mat goes, relative to root; None writes none.
        never_released: let the train split name the real pair that has no files.

    Returns:
        All panorama ids in the order of ACT_data.mat: two without images, train, val, test, the one never released.
    """
    ids = panorama_ids(2 + num_train + num_val + num_test) + [NEVER_RELEASED]
    train, val, test = np.split(np.arange(2, len(ids) - 1), [num_train, num_train + num_val])
    for archive, rows in {"ANU_data_small": [*train, *val], "ANU_data_test": [*val, *test]}.items():
        for row in rows:
            ground = root / archive / f"streetview/{ids[row]}_grdView.jpg"
            aerial = root / archive / f"satview_polish/{ids[row]}_satView_polish.jpg"
            save_jpeg(ground, picture("ground", int(row), *ground_size))
            save_jpeg(aerial, picture("aerial", int(row), *aerial_size))
    if utm is None:
        utm = np.random.default_rng(0).uniform([680_000, 6_070_000], [700_000, 6_100_000], (len(ids), 2))
    train = np.append(train, len(ids) - 1) if never_released else train
    if mat_file is not None:
        write_act_mat(root / mat_file, ids, utm, train, val, np.concatenate([val, test]))
    return ids


def write_act_mat(
    path: Path, ids: Sequence[str], utm: np.ndarray, train: np.ndarray, val: np.ndarray, val_all: np.ndarray
) -> None:
    """Write ACT_data.mat: a char matrix, metres, and column vectors of rows that count from 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "panoIds": np.array(ids),
        "utm": np.asarray(utm, np.float64),
        "trainSet": {"trainInd": (train + 1.0)[:, None]},
        "valSet": {"valInd": (val + 1.0)[:, None]},
        "valSetAll": {"valInd": (val_all + 1.0)[:, None]},
    }
    savemat(path, content, oned_as="column")


def write_own(
    root: Path,
    rows: Sequence[Sequence[object]],
    queries: Sequence[str] = (),
    references: Sequence[str] = (),
    table: str = "places.csv",
    header: str | None = "file,lat,lon",
    separator: str = ",",
    line_end: str = "\n",
) -> Path:
    """Write an own data set, `folder:ROOT`.

    Args:
        root: the folder that gets queries, references and the table.
        rows: the rows of the table.
        queries: files below root/queries.
        references: files below root/references.
        table: name of the table.
        header: its first line; None writes none.
        separator: separates the cells.
        line_end: ends the lines.
    """
    for role, names in (("queries", queries), ("references", references)):
        (root / role).mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            save_jpeg(root / role / name, smooth_noise("ground" if role == "queries" else "aerial", number, 16, 32))
    lines = [separator.join(map(str, row)) for row in rows]
    lines = lines if header is None else [header.replace(",", separator), *lines]
    (root / table).write_bytes("".join(line + line_end for line in lines).encode())
    return root
