"""`geodtr data check` names what is wrong with VIGOR, University-1652 and own data; test_check.py is about the others.

Of the faults that are looked for, mirrored and south-centred panoramas cannot be found here: where the camera is off
the centre of its tile (VIGOR, own data) or the images are no panoramas (University-1652), north cannot be measured, and
the check does not try. University-1652 has folders in place of lists, and own images may have any size.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from trees import write_own
from trees_university import write_university1652
from trees_vigor import write_vigor

from geodtr_plugin.datasets.check import CheckedDataset, check_dataset

FILES, TILES = [f"{i}.jpg" for i in range(8)], [f"tile{i}.jpg" for i in range(8)]
POSITIONS = [
    *((f"queries/{name}", f"{-37.8 - i / 100:.6f}", "144.9") for i, name in enumerate(FILES)),
    *((f"references/{name}", f"{-37.8 - i / 100:.6f}", "144.9001") for i, name in enumerate(TILES)),
]
write_positions = partial(write_own, rows=POSITIONS, queries=FILES, references=TILES)
write_pairs = partial(write_positions, rows=list(zip(FILES, TILES)), header="query,reference")


@dataclass(frozen=True)
class Case:
    """A data set to be damaged: what to check, how it is written, and which of its parts the damages take."""

    name: str
    write: Callable[[Path], object]
    query: str  # an image of the train split
    reference: str
    lists: str  # pattern of what says which images there are
    lost_lists: str  # how the report calls them
    empty: str = ""  # a folder of images; by default that of the query
    any_size: bool = False

    def check(self, root: Path) -> CheckedDataset:
        return check_dataset(f"folder:{root}" if self.name == "folder:" else self.name, root)


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


CASES = {
    "vigor-same": Case(
        "vigor-same", write_vigor, "Chicago/panorama/*", "Seattle/satellite/*",
        "splits*/Chicago/same_area_balanced_test*",
        "lacks a list: none of splits__corrected/Chicago/same_area_balanced_test",
    ),
    "vigor-cross, grouped": Case(
        "vigor-cross", partial(write_vigor, images="grouped", labels=["splits"]), "ground/NewYork/*",
        "satellite/Seattle/*", "splits/Seattle/satellite_list.txt",
        "lacks a list: none of splits/Seattle/satellite_list.txt",
    ),
    "drone to satellite": Case(
        "university1652-drone-satellite", write_university1652, "train/drone/0839/*", "train/satellite/0842/*",
        "test/query_drone", "lacks test/query_drone", "train/drone",
    ),
    "satellite to drone": Case(
        "university1652-satellite-drone", write_university1652, "train/satellite/0842/*", "train/drone/0839/*",
        "test/gallery_drone", "lacks test/gallery_drone", "test/query_satellite",
    ),
    "positions": Case("folder:", write_positions, "queries/*", "references/*", "*.csv", "has no table", any_size=True),
    "pairs": Case("folder:", write_pairs, "queries/*", "references/*", "*.csv", "has no table", any_size=True),
}  # fmt: skip
SIZED = [key for key, case in CASES.items() if not case.any_size]


@pytest.fixture
def case(request):
    return CASES[request.param]


@pytest.fixture
def root(case, tmp_path):
    case.write(tmp_path / "tree")
    return tmp_path / "tree"


def check_named(case: Case, root: Path, sign: str) -> None:
    """The report begins with the fault and ends with what to do about it."""
    report = case.check(root).report
    assert report.lines()[0].startswith("FAULT") and sign in report.lines()[0], report.lines()
    assert len(report.faults) <= 2  # one fault, told for train and for test at most
    assert report.next_step() == report.faults[0].remedy == report.lines()[-1]


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_missing_lists_are_named(case, root):
    for path in list(root.glob(case.lists)):
        delete(path)
    check_named(case, root, case.lost_lists)


@pytest.mark.parametrize("role", ["query", "reference"])
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_one_missing_image_is_named_where_the_others_lie(case, root, role):
    path = first(root, getattr(case, role))
    path.unlink()
    check_named(case, root, str(path.relative_to(root)))


@pytest.mark.parametrize("role", ["query", "reference"])
@pytest.mark.parametrize("case", CASES, indirect=True)
def test_a_truncated_image_is_named(case, root, role):
    path = first(root, getattr(case, role))
    path.write_bytes(path.read_bytes()[:-200])
    check_named(case, root, f"decoding: 1 of {_opened(case, root)} images cannot be read. Image ")
    check_named(case, root, f"{path}, is damaged")


def _opened(case: Case, root: Path) -> int:
    splits = case.check(root).splits
    return len({images.path(i) for x in splits for images in (x.queries, x.references) for i in range(len(images))})


@pytest.mark.parametrize("role", ["query", "reference"])
@pytest.mark.parametrize("case", SIZED, indirect=True)
def test_a_wrong_size_is_named(case, root, role):
    path = first(root, getattr(case, role))
    usual = Image.open(path).size[::-1]
    Image.open(path).resize((50, 40)).save(path)
    check_named(case, root, f"{path} is 40 x 50, not {usual[0]} x {usual[1]}")


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_an_empty_folder_is_named(case, root):
    folder = root / case.empty if case.empty else first(root, case.query).parent
    for path in folder.iterdir():
        delete(path)
    check_named(case, root, case.empty or f"{folder} holds nothing")


@pytest.mark.parametrize("case", ["vigor-same", "vigor-cross, grouped"], indirect=True)
def test_tiles_in_place_of_panoramas_are_named(case, tmp_path):
    case.write(tmp_path, ground_size=(32, 32), aerial_size=(32, 64))
    check_named(case, tmp_path, "roles: the train queries are aerials")


@pytest.mark.parametrize("case", ["vigor-same"], indirect=True)
def test_swapped_label_columns_of_vigor_are_named(case, root):
    path = root / "splits__corrected/Seattle/same_area_balanced_train__corrected.txt"
    rows = [line.split(" ") for line in path.read_text().splitlines()]
    path.write_text("".join(" ".join([r[0], *r[4:7], *r[1:4], *r[7:]]) + "\n" for r in rows))
    check_named(case, root, f"{path} has its columns in another order")


@pytest.mark.parametrize("case", ["drone to satellite", "satellite to drone"], indirect=True)
def test_swapped_folders_of_university1652_are_named(case, root):
    (root / "train/drone").rename(root / "train/other")
    (root / "train/satellite").rename(root / "train/drone")
    (root / "train/other").rename(root / "train/satellite")
    sign = f"roles: {root / 'train/drone'} holds 5 images of 5 buildings and {root / 'train/satellite'} 20 of 5"
    check_named(case, root, sign)


@pytest.mark.parametrize("case", ["positions", "pairs"], indirect=True)
def test_swapped_columns_of_own_tables_are_named(case, root):
    path = root / "places.csv"
    header, *rows = path.read_text().splitlines()
    swapped = [",".join([*cells[:-2], cells[-1], cells[-2]]) for cells in (row.split(",") for row in rows)]
    path.write_text("\n".join([header, *swapped]))
    positions = "file" in header
    check_named(case, root, "nowhere on Earth" if positions else "names 'queries/tile0.jpg', which is not there")
    assert not positions or "They look swapped" in case.check(root).report.next_step()
