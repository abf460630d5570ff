"""Write miniature Pittsburgh, Tokyo 24/7 and MSLS, file for file in their formats, so that tests need no download."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from trees import smooth_noise

PITTS, TOKYO = (584_500.0, 4_477_000.0), (382_000.0, 3_946_000.0)  # metres of UTM, zones 17 and 54
CITIES = {"cph": (347_000.0, 6_173_000.0), "sf": (551_000.0, 4_181_000.0)}
VIEWS = [f"pitch{pitch}_yaw{yaw}" for pitch in (1, 2) for yaw in (1, 5, 9)]


@dataclass(frozen=True)
class Written:
    """What was written, in the order of the lists: paths and metres of both roles."""

    queries: list[str]
    at_queries: np.ndarray
    references: list[str]
    at_references: np.ndarray


def save_photo(path: Path, number: int, role: str, size: tuple[int, int] = (24, 32)) -> None:
    """Write a photo by the extension of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(smooth_noise(role, number, *size)).save(path)


def write_dbstruct(path: Path, written: Written, counts: tuple[int, int] | None = None) -> None:
    """Write a list as NetVLAD's authors do: a struct with columns of cells, positions `[2, N]` and counts."""

    def cells(names: Sequence[str]) -> np.ndarray:
        column = np.empty((len(names), 1), object)
        column[:, 0] = names
        return column

    counts = counts or (len(written.references), len(written.queries))
    struct = {
        "whichSet": "test", "dbImageFns": cells(written.references), "utmDb": written.at_references.T,
        "qImageFns": cells(written.queries), "utmQ": written.at_queries.T, "numImages": counts[0],
        "numQueries": counts[1], "posDistThr": 25.0, "posDistSqThr": 625.0, "nonTrivPosDistSqThr": 100.0,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"dbStruct": struct})


def draw_pitts(part: str, panoramas: int = 5, asked: int = 3, spread: float = 80.0) -> Written:
    """Panoramas of six views along a street, and query panoramas near some of them; the last one is near none."""
    draw = np.random.default_rng(sum(part.encode()))
    at = np.array(PITTS) + np.stack([np.arange(panoramas) * 18.0, draw.uniform(0, 3, panoramas)], axis=1)
    near = at[np.arange(asked) % panoramas] + draw.uniform(2, 6, (asked, 2))
    near[-1] = at[-1] + spread
    starts = {"train": 0, "val": 100, "test": 200}
    names = [[f"000/{starts[part] + i:06d}_{view}.jpg" for i in range(n) for view in VIEWS] for n in (panoramas, asked)]
    return Written(names[1], np.repeat(near, len(VIEWS), 0), names[0], np.repeat(at, len(VIEWS), 0))


def write_pitts_lists(
    root: Path, name: str = "pitts30k", lists: str = "", images: str = "", queries: str = "queries_real", **drawn
) -> dict[str, Written]:
    """Write Pittsburgh as its makers pack it; lists, references and queries go to the folders that are named."""
    written = {part: draw_pitts(part, **drawn) for part in ("train", "val", "test")}
    for part, one in written.items():
        for folder, role, names in ((queries, "ground", one.queries), (images, "aerial", one.references)):
            for number, file in enumerate(names):
                save_photo(root / folder / file, number, role)
        write_dbstruct(root / lists / f"{name}_{part}.mat", one)
    return written


def utm_name(at: Sequence[float], zone: str, panorama: str, tile: str, note: str = "", extension: str = ".jpg") -> str:
    """A file's name in the format of VPR-datasets-downloader."""
    letter = {"17": "T", "54": "S", "33": "U", "10": "S"}.get(zone, "")
    return f"@{at[0]:010.2f}@{at[1]:010.2f}@{zone}@{letter}@040.44@-080.00@{panorama}@{tile}@@@@@@{note}@{extension}"


def write_named(
    root: Path, part: str, written: Written, zone: str = "17", references: str = "database", home: str = "images/{}"
) -> Written:
    """Write photos whose names say where they were taken, and return them sorted by path."""
    roles = []
    for folder, role, names, at in (
        ("queries", "ground", written.queries, written.at_queries),
        (references, "aerial", written.references, written.at_references),
    ):
        paths = []
        for number, (name, place) in enumerate(zip(names, at)):
            stem = name.rpartition("/")[2].rpartition(".")[0]
            panorama, _, view = stem.partition("_")
            file = f"{home.format(part)}/{folder}/{utm_name(place, zone, panorama, view)}"
            save_photo(root / file, number, role)
            paths.append(file)
        order = np.argsort(paths)
        roles += [[paths[i] for i in order], at[order].round(2)]
    return Written(*roles)


def draw_tokyo(panoramas: int = 4, asked: int = 3) -> Written:
    """Panoramas of twelve views, a folder each, and queries near some of them."""
    draw = np.random.default_rng(7)
    at = np.array(TOKYO) + np.stack([np.arange(panoramas) * 30.0, np.zeros(panoramas)], axis=1)
    ids = [f"{'abcd'[i % 4]}{i:021d}" for i in range(panoramas)]
    references = [f"0381{4 + i % 2}/{ids[i]}/{ids[i]}_012_{30 * v}.jpg" for i in range(panoramas) for v in range(12)]
    near = at[np.arange(asked) % panoramas] + draw.uniform(-8, 8, (asked, 2))
    return Written([f"{i + 1:05d}.jpg" for i in range(asked)], near, references, np.repeat(at, 12, 0))


def write_tokyo_list(
    root: Path, images: str = "tokyo247/images", queries: str = "tokyo247/query", end: str = ".png", **drawn
) -> Written:
    """Write Tokyo 24/7 as its makers pack it: the list names .jpg, the references are .png."""
    written = draw_tokyo(**drawn)
    for number, name in enumerate(written.references):
        save_photo((root / images / name).with_suffix(end), number, "aerial")
    for number, name in enumerate(written.queries):
        save_photo(root / queries / name, number, "ground", (40, 30))
    write_dbstruct(root / "tokyo247.mat", written)
    return written


def write_msls(root: Path, asked: int = 8, gallery: int = 10) -> dict[str, list[str]]:
    """Write the val split of MSLS with its tables: of the queries of a city, the first is a panorama, the second is
    near nothing, every third is not of the official selection; the last reference is a panorama.

    Returns:
        Keys of the photos by "city/role", in the order of the tables.
    """
    keys = {}
    for number, (city, start) in enumerate(CITIES.items()):
        draw = np.random.default_rng(number)
        at = np.array(start) + np.stack([np.arange(gallery) * 15.0, draw.uniform(0, 5, gallery)], axis=1)
        near = at[np.arange(asked) % gallery] + draw.uniform(-5, 5, (asked, 2))
        near[1] += 900
        for role, places, pano, chosen in (
            ("query", near, [i == 0 for i in range(asked)], [i % 3 != 2 for i in range(asked)]),
            ("database", at, [i == gallery - 1 for i in range(gallery)], [True] * gallery),
        ):
            home = root / f"train_val/{city}/{role}"
            found = keys[f"{city}/{role}"] = [f"{city}{role[0]}_-{i:019d}" for i in range(len(places))]
            for i, key in enumerate(found):
                save_photo(home / f"images/{key}.jpg", i, "ground" if role == "query" else "aerial")
            tables = {
                "postprocessed": (
                    ("key", "easting", "northing", "night"),
                    [(key, *place, False) for key, place in zip(found, places.tolist())],
                ),
                "raw": (("key", "lon", "lat", "pano"), [(key, 0, 0, it) for key, it in zip(found, pano)]),
                "subtask_index": (("all", "s2w"), [(it, False) for it in chosen]),
            }
            for name, (header, rows) in tables.items():
                with open(home / f"{name}.csv", "w", newline="") as file:
                    csv.writer(file).writerows([("", *header), *((i, *row) for i, row in enumerate(rows))])
    return keys
