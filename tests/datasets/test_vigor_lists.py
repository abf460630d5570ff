"""What is wrong with lists or images of VIGOR is told with file and line."""

from __future__ import annotations

import shutil

import pytest
from PIL import Image
from trees import smooth_noise
from trees_vigor import save_tile, write_vigor

from geodtr_plugin.datasets import load_split
from geodtr_plugin.utils.errors import DatasetCorruptError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("vigor") / "VIGOR"
    return root, write_vigor(root)


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree, to be damaged."""
    return shutil.copytree(written[0], tmp_path / "VIGOR")


def edit(path, line):
    """Replaces the second line of a list by what `line` makes of it."""
    lines = path.read_text().splitlines()
    lines[1] = line(lines[1])
    path.write_text("\n".join(lines) + "\n")


BAD_LINES = {
    "12 columns": (lambda line: line.rsplit(" ", 1)[0], "it has 12 columns in place of 13"),
    "a panorama without position": (lambda line: "abc.jpg " + line.split(" ", 1)[1], "'abc.jpg' is not named"),
    "columns swapped": (lambda line: " ".join(reversed(line.split(" "))), "is not named <panorama>"),
    "an unknown tile": (lambda line: line.replace("satellite_4", "satellite_5", 1), "is not in .*satellite_list.txt"),
    "a tile twice": (lambda line: " ".join(line.split(" ")[:4] + line.split(" ")[1:10]), "names a tile twice"),
}


@pytest.mark.parametrize("fault", BAD_LINES)
def test_a_line_that_cannot_be_used_is_named(tree, fault):
    change, what = BAD_LINES[fault]
    edit(tree / "splits__corrected/Chicago/same_area_balanced_test__corrected.txt", change)
    match = rf"Line 2 of .*Chicago/same_area_balanced_test__corrected\.txt cannot be used: .*{what}"
    with pytest.raises(DatasetCorruptError, match=match):
        load_split("vigor-same", "test", tree)


def test_tile_columns_in_another_order_are_noticed(tree):
    for path in tree.glob("splits__corrected/NewYork/pano_label*.txt"):
        rows = [line.split(" ") for line in path.read_text().splitlines()]
        path.write_text("".join(" ".join([r[0], *r[4:7], *r[1:4], *r[7:]]) + "\n" for r in rows))
    with pytest.raises(DatasetCorruptError, match="columns in another order.* in 8 of 8 lines another one is nearer"):
        load_split("vigor-cross", "train", tree)


def test_tile_lists_that_cannot_be_used(tree):
    path = tree / "splits__corrected/Chicago/satellite_list.txt"
    good = path.read_text()
    for text, what in (
        (good.replace("satellite_41", "tile41", 1), "Line 1 .* is not named satellite_"),
        (good + good.splitlines()[0], "Line 17 .* is named a second time"),
        ("\n", "names no tile"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetCorruptError, match=what):
            load_split("vigor-cross", "test", tree)


def test_an_empty_label_list(tree):
    (tree / "splits__corrected/Chicago/pano_label_balanced__corrected.txt").write_text("\r\n")
    with pytest.raises(DatasetCorruptError, match="names no panorama"):
        load_split("vigor-cross", "test", tree)


def test_a_damaged_tile_is_found_when_it_is_read(tree, written):
    lists = written[1]["SanFrancisco"]
    path = tree / "SanFrancisco/satellite" / lists.tiles[0]
    save_tile(path, smooth_noise("aerial", 0, 32, 32))
    assert Image.open(path).format == "PNG"
    path.write_bytes(path.read_bytes()[:-200])
    split = load_split("vigor-cross", "test", tree)
    with pytest.raises(DatasetCorruptError, match="Image 0 of 32, .*SanFrancisco/satellite/satellite_.*is damaged"):
        split.references.read(0)
