"""Every fault that people have had with their data is named; a good tree passes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import Picture, write_cvact, write_cvusa

from geodtr_plugin.datasets import load_split
from geodtr_plugin.datasets.check import check_dataset, quick_check
from geodtr_plugin.datasets.check.images import choose_rows
from geodtr_plugin.utils.errors import UnknownNameError

PAIRS = 24


@cache
def world():
    return load_split("synth-suburb", "test", count=PAIRS)


def world_picture(role: str, place: int, height: int, width: int) -> np.ndarray:
    """A synthetic world at any size; on a full sphere its panorama fills the middle half of the height."""
    images = world().queries if role == "ground" else world().references
    picture = Image.fromarray(images.read(place % PAIRS).permute(1, 2, 0).numpy())
    if role == "aerial" or width > 3 * height:
        return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    sphere = np.full((height, width, 3), 127, np.uint8)
    middle = picture.resize((width, height // 2), Image.Resampling.BICUBIC)
    sphere[height // 4 : height // 4 + height // 2] = np.asarray(middle)
    return sphere


def turned(role: str, place: int, height: int, width: int, columns: float = 0.0, mirror: bool = False) -> np.ndarray:
    picture = world_picture(role, place, height, width)
    if role == "aerial":
        return picture
    return np.roll(picture[:, ::-1] if mirror else picture, round(columns * width), axis=1)


def aerials_for_panoramas(role: str, place: int, height: int, width: int) -> np.ndarray:
    return world_picture("aerial" if role == "ground" else "ground", place, height, width)


@dataclass(frozen=True)
class Case:
    """How a data set is written, and where its parts lie."""

    name: str
    write: Callable[..., object]  # (root, picture, ground_size, aerial_size)
    ground: tuple[int, int]
    aerial: tuple[int, int]
    panoramas: str  # pattern of the files
    aerials: str
    lists: str

    def tree(self, root: Path, picture: Picture = world_picture) -> Path:
        self.write(root, picture=picture, ground_size=self.ground, aerial_size=self.aerial)
        return root


VAL = 6
CASES = [
    Case(
        "cvusa", partial(write_cvusa, train=range(VAL + 1, PAIRS + 1), val=range(1, VAL + 1)), (56, 308), (128, 128),
        "streetview/panos/*.jpg", "bingmap/19/*.jpg", "splits/val-19zl.csv",
    ),
    Case(
        "cvact", partial(write_cvact, num_train=PAIRS - VAL, num_val=VAL), (104, 208), (128, 128),
        "ANU_data_small/streetview/*.jpg", "ANU_data_small/satview_polish/*.jpg", "ACT_data.mat",
    ),
]  # fmt: skip


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def good(request, tmp_path_factory):
    """A case and its sound tree, written once."""
    return request.param, request.param.tree(tmp_path_factory.mktemp(request.param.name) / "tree")


@pytest.fixture
def copied(good, tmp_path):
    """The same, to be damaged."""
    case, root = good
    return case, Path(shutil.copytree(root, tmp_path / "tree"))


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def lose_lists(case: Case, root: Path) -> str:
    (root / case.lists).unlink()
    return Path(case.lists).name


def lose_image(case: Case, root: Path) -> str:
    """The last train image; in CVACT val images have copies in the other archive."""
    path = _of_train(case, root)
    path.unlink()
    return str(path)


def truncate_image(case: Case, root: Path) -> str:
    path = _of_train(case, root)
    path.write_bytes(path.read_bytes()[:-200])
    return str(path)


def resize_image(case: Case, root: Path) -> str:
    path = _of_train(case, root)
    Image.open(path).resize((50, 40)).save(path)
    return f"{path} is 40 x 50, not {case.ground[0]} x {case.ground[1]}"


def empty_folder(case: Case, root: Path) -> str:
    folder = root / Path(case.panoramas).parent
    for path in folder.iterdir():
        path.unlink()
    return f"{folder} holds nothing"


def _of_train(case: Case, root: Path) -> Path:
    images = load_split(case.name, "train", root).queries
    return images.root / images.paths[5]


@pytest.mark.parametrize("damage", [lose_lists, lose_image, truncate_image, resize_image, empty_folder])
def test_damage_is_named(copied, damage):
    case, root = copied
    sign = damage(case, root)
    report = check_dataset(case.name, root).report
    assert not report.sound
    assert report.lines()[0].startswith("FAULT") and sign in report.lines()[0]
    assert len(report.faults) <= 2  # one fault, told for train and for test at most
    assert report.next_step() == report.faults[0].remedy == report.lines()[-1]


def test_a_good_tree_is_sound(good):
    case, root = good
    checked = check_dataset(case.name, root)
    assert checked.report.sound, checked.report.lines()
    assert [split.split for split in checked.splits] == ["train", "test"] and checked.missing == ()
    topics = [finding.topic for finding in checked.report.findings if finding.topic != "note"]
    assert topics == ["lists", "lists", "counts", "counts", "sizes", "sizes", "decoding", "north"]
    north = checked.report.findings[-1].text
    assert "at the centre" in north
    assert "it can be used" in checked.report.lines()[-1]


PICTURES = {
    "mirrored": (partial(turned, mirror=True), "north: panoramas are mirrored:"),
    "south-centred": (partial(turned, columns=0.5), "north: panoramas are south-centred"),
    "mirrored and south-centred": (partial(turned, columns=0.5, mirror=True), "mirrored, and north is"),
    "turned": (partial(turned, columns=0.25), "of it"),
    "swapped": (aerials_for_panoramas, "roles: the train queries are aerials"),
}


@pytest.mark.parametrize("fault", PICTURES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wrong_pictures_are_named(case, fault, tmp_path):
    picture, sign = PICTURES[fault]
    if fault == "swapped":
        case = replace(case, ground=case.aerial, aerial=case.ground)
    report = check_dataset(case.name, case.tree(tmp_path, picture)).report
    assert sign in report.lines()[0], report.lines()
    assert not any(finding.topic == "decoding" for finding in report.faults)


def test_missing_files_are_all_listed(copied):
    case, root = copied
    lost = sorted(root.glob(case.aerials))[-3:]
    images = load_split(case.name, "train", root).references
    lost = [images.root / images.paths[i] for i in (0, 2, 9)]
    for path in lost:
        path.unlink()
    checked = check_dataset(case.name, root)
    assert list(checked.missing) == lost
    total = len(images)
    assert f"train: {total - 3} of {total} pairs are complete, 3 files are missing" in checked.report.lines()[0]
    assert checked.report.next_step().startswith(f"Extract or copy the missing files again, first {lost[0]}")
    counts = [finding.text for finding in checked.report.findings if finding.topic == "counts"]
    assert counts[0].startswith(f"train {total} pairs in the lists, of which {total - 3} are complete here")
    assert " complete here" not in counts[1] and "gallery of" in counts[1]
    assert len(checked.splits[0].pairs) == total - 3


def test_a_swapped_list_of_cvusa_is_named(tmp_path):
    root = CASES[0].tree(tmp_path)
    path = root / CASES[0].lists
    rows = [line.split(",") for line in path.read_text().splitlines()]
    path.write_text("".join(f"{b},{a},{c}\n" for a, b, c in rows))
    report = check_dataset("cvusa", root).report
    (fault,) = report.faults
    assert fault.topic == "roles" and "the test queries are aerials" in fault.text
    assert "Swap the two columns of the test list" in report.next_step()


def test_windows_line_ends_pass(tmp_path):
    root = write_cvusa(
        tmp_path, range(7, 25), range(1, 7), world_picture, (56, 308), (128, 128), line_end="\r\n", slash="\\"
    )
    assert check_dataset("cvusa", root).report.sound


def test_the_pair_that_was_never_released_is_no_fault(tmp_path):
    write_cvact(tmp_path, 8, 6, 2, world_picture, (104, 208), (96, 96), never_released=True)
    checked = check_dataset("cvact", tmp_path)
    assert checked.report.sound and checked.missing == ()
    assert any(finding.topic == "note" and "never released" in finding.text for finding in checked.report.findings)


def test_one_image_in_a_hundred_is_named_when_all_are_opened(copied):
    case, root = copied
    sign = truncate_image(case, root)
    assert sign in check_dataset(case.name, root, decode=None).report.lines()[0]
    assert "all" in check_dataset(case.name, root, decode=None).report.lines()[0]


def test_rows_are_chosen_by_the_seed_and_the_first_is_among_them():
    rows = choose_rows(100, 10, seed=1)
    assert rows == choose_rows(100, 10, seed=1) != choose_rows(100, 10, seed=2)
    assert rows[0] == 0 and len(set(rows)) == 10 and choose_rows(3, 10, seed=1) == [0, 1, 2]


def test_a_root_without_the_set(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    report = check_dataset("cvusa", tmp_path / "a/b").report
    assert len(report.faults) == len(report.findings) == 1  # told once, not for each split
    assert "was not found" in report.lines()[0] and "--data-root" in report.next_step()


def test_unknown_names_are_answered():
    with pytest.raises(UnknownNameError, match="Did you mean 'cvusa'"):
        check_dataset("cvusaa")


def test_an_error_of_a_loader_is_a_fault_with_its_remedy(tmp_path):
    (fault,) = check_dataset("cvusa", tmp_path / "nowhere").report.faults
    assert (fault.topic, fault.text) == ("lists", f"There is no folder {tmp_path / 'nowhere'}.")
    assert fault.remedy.startswith("Name its folder with --data-root") and "MVRL" in fault.remedy


def test_the_quick_form_tells_the_same(good, tmp_path):
    case, root = good
    report = quick_check(load_split(case.name, "train", root))
    assert report.sound, report.lines()
    assert [finding.topic for finding in report.findings] == ["counts", "sizes", "decoding", "north"]
    mirrored = quick_check(load_split(case.name, "train", case.tree(tmp_path, partial(turned, mirror=True))))
    assert [finding.topic for finding in mirrored.faults] == ["north"]


@pytest.mark.slow
def test_the_quick_form_takes_limited_and_rendered_sets():
    report = quick_check(load_split("synth-suburb", "test", count=64).limit(32))
    assert report.sound and "image" not in "".join(finding.text for finding in report.faults)
    assert quick_check(load_split("synth-suburb-offset", "test", count=8)).sound
