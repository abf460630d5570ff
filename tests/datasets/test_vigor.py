from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from trees import smooth_noise
from trees_vigor import CITIES, write_vigor

from geodtr_plugin.datasets import load_split
from geodtr_plugin.datasets.vigor import RELEASED
from geodtr_plugin.utils.errors import DatasetNotFoundError, UnknownNameError

NAMES = ("vigor-same", "vigor-cross", "vigor-cross-reverse")
EAST_AND_NORTH, WEST_AND_MIDDLE = ["NewYork", "Seattle"], ["SanFrancisco", "Chicago"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("vigor") / "VIGOR"
    return root, write_vigor(root)


@pytest.fixture
def tree(written, tmp_path):
    """A copy of the tree, to be damaged."""
    return shutil.copytree(written[0], tmp_path / "VIGOR")


def stems(names):
    return [name.rsplit(".", 1)[0] for name in names]


def expected(cities, name, split):
    """(panorama, positive, semi-positives) as file names in the order of the lists, and the gallery's names."""
    rows, gallery = [], []
    for city in cities:
        lists = range(len(city.panoramas)) if name != "vigor-same" else getattr(city, split)
        tiles = stems(city.tiles)
        rows += [(city.panoramas[i], *(tiles[tile] for tile in city.shown_by[i])) for i in lists]
        gallery += tiles
    return rows, gallery


def as_names(index):
    ids = list(index.references.ids)
    return [
        (path.rpartition("/")[2], *(ids[i] for i in (*index.truth.positives[q], *index.truth.ignored[q])))
        for q, path in enumerate(index.queries.paths)
    ]


CASES = [
    ("vigor-same", "train", list(CITIES)),
    ("vigor-same", "test", list(CITIES)),
    ("vigor-cross", "train", EAST_AND_NORTH),
    ("vigor-cross", "test", WEST_AND_MIDDLE),
    ("vigor-cross-reverse", "train", WEST_AND_MIDDLE),
    ("vigor-cross-reverse", "test", EAST_AND_NORTH),
]


@pytest.mark.parametrize(("name", "split", "cities"), CASES)
def test_panoramas_tiles_and_gallery_are_those_of_the_lists_in_their_order(written, name, split, cities):
    root, lists = written
    index = load_split(name, split, root)
    rows, gallery = expected([lists[city] for city in cities], name, split)
    assert as_names(index) == rows
    assert list(index.references.ids) == gallery
    assert index.pairs.tolist() == [[q, index.truth.positives[q][0]] for q in range(len(rows))]
    assert (index.percent_rounding, index.centred, index.total_pairs) == ("floor_plus_one", False, len(rows))


def test_two_panoramas_of_a_tile_are_one_place_and_tiles_are_places(written):
    index = load_split("vigor-cross", "train", written[0])
    positives = [index.truth.positives[q][0] for q in range(len(index.queries))]
    assert index.query_places.tolist() == positives
    assert index.reference_places.tolist() == list(range(len(index.references)))
    assert len(set(positives)) < len(positives)


def test_coordinates_are_in_the_names(written):
    root, lists = written
    index = load_split("vigor-cross", "test", root)
    assert index.queries.coordinate_kind == index.references.coordinate_kind == "latlon"
    for images in (index.queries, index.references):
        near = CITIES["SanFrancisco"]
        assert np.abs(images.coordinates[0] - near).max() < 0.01
    latitude, longitude = lists["SanFrancisco"].panoramas[0].split(",")[1:3]
    assert index.queries.coordinates[0].tolist() == [float(latitude), float(longitude)]
    assert index.queries.ids[0] == lists["SanFrancisco"].panoramas[0].split(",")[0]


def test_images_are_those_of_the_pair(written):
    root, lists = written
    index = load_split("vigor-same", "test", root)
    seattle = lists["Seattle"]
    query, reference = index.pairs[-1]
    place = 3000 + seattle.shown_by[seattle.test[-1]][0]
    tile = torch.from_numpy(smooth_noise("aerial", place, 32, 32).copy()).permute(2, 0, 1)
    assert torch.equal(index.references.read(reference), tile)
    panorama = torch.from_numpy(smooth_noise("ground", place, 32, 64).copy()).permute(2, 0, 1)
    assert (index.queries.read(query).int() - panorama.int()).abs().max() < 32


VARIANTS = {
    "grouped": dict(images="grouped"),
    "original lists alone": dict(labels=["splits"]),
    "corrected lists alone": dict(labels=["splits__corrected"]),
    "splits_new": dict(labels=["splits_new"]),
    "lists in the cities": dict(labels=["."]),
    "grouped, lists in the cities": dict(images="grouped", labels=["."]),
    "jpg tiles": dict(tile_extension=".jpg"),
    "jpg in the lists": dict(listed_extension=".jpg", tile_extension=".png"),
    "Windows": dict(line_end="\r\n"),
    "blank lines": dict(line_end="  \r\n\r\n"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_reads_the_same(written, tmp_path, variant):
    write_vigor(tmp_path / "VIGOR", **VARIANTS[variant])
    for name, split in (("vigor-same", "test"), ("vigor-cross", "train")):
        theirs, ours = load_split(name, split, tmp_path), load_split(name, split, written[0])
        assert theirs.fingerprint() == ours.fingerprint()
        assert theirs.references.read(3).shape == theirs.references.read(0).shape == (3, 32, 32)
        assert theirs.queries.read(3).shape == (3, 32, 64)


@pytest.mark.parametrize(
    ("variant", "layout", "provenance"),
    [
        ("grouped", "ground/<City> and satellite/<City>", "custom, corrected"),
        ("original lists alone", "original lists from splits", "custom, original"),
        ("corrected lists alone", "corrected lists from splits__corrected", "custom, corrected"),
        ("splits_new", "corrected lists from splits_new", "custom, corrected"),
        ("lists in the cities", "original lists from the cities' folders", "custom, original"),
    ],
)
def test_the_variant_is_named(tmp_path, variant, layout, provenance):
    write_vigor(tmp_path, **VARIANTS[variant])
    index = load_split("vigor-same", "test", tmp_path)
    assert layout in index.layout and str(tmp_path) in index.layout
    assert index.provenance == provenance


def test_paths_in_the_lists_and_a_byte_order_mark(written, tree):
    for path in tree.glob("splits__corrected/*/*.txt"):
        city = path.parent.name
        text = path.read_text().replace("satellite_", f"{city}\\satellite\\satellite_")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    theirs = load_split("vigor-same", "test", tree)
    assert theirs.fingerprint() == load_split("vigor-same", "test", written[0]).fingerprint()


@pytest.mark.parametrize("given", [".", "VIGOR", "VIGOR/splits", "VIGOR/Chicago", "other"])
def test_the_folder_is_found_from_near_it(written, tmp_path, given):
    (tmp_path / "VIGOR").symlink_to(written[0])
    (tmp_path / "other").mkdir()
    if given.count("/"):
        given = given.replace("VIGOR", str(written[0]))
    assert len(load_split("vigor-cross", "test", tmp_path / given).queries) == 16


def test_labels_can_be_chosen(written, tmp_path):
    for labels in ("original", "corrected"):
        index = load_split("vigor-same", "test", written[0], labels=labels)
        assert f"{labels} lists" in index.layout
    with pytest.raises(UnknownNameError, match="kind of VIGOR labels 'correct'.*corrected"):
        load_split("vigor-same", "test", written[0], labels="correct")
    write_vigor(tmp_path, labels=["splits"])
    with pytest.raises(DatasetNotFoundError, match=r"same_area_balanced_test__corrected\.txt.*splits\.zip"):
        load_split("vigor-same", "test", tmp_path, labels="corrected")


def test_released_numbers_make_no_note(written, monkeypatch):
    root, lists = written
    assert "Chicago 16 (22,308) and 4 (12,739)" in load_split("vigor-same", "test", root).notes[0]
    for city in CITIES:
        released = type(RELEASED[city])(16, 8, 4, 4)
        monkeypatch.setitem(RELEASED, city, released)
    for name in NAMES:
        index = load_split(name, "test", root)
        assert (index.notes, index.provenance) == ((), "corrected")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_list_is_named_with_where_it_comes_from(written, tree, name):
    for path in tree.glob("splits*/Chicago/*"):
        path.unlink()
    lists = "same_area_balanced_test" if name == "vigor-same" else "pano_label_balanced"
    split = "train" if name == "vigor-cross-reverse" else "test"
    with pytest.raises(DatasetNotFoundError, match=rf"Chicago/{lists}__corrected\.txt.*splits\.zip.*--data-root"):
        load_split(name, split, tree)


def test_a_missing_tile_list_is_named(tree):
    for path in tree.glob("splits*/Seattle/satellite_list.txt"):
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match=r"splits__corrected/Seattle/satellite_list\.txt"):
        load_split("vigor-same", "train", tree)
    assert len(load_split("vigor-cross", "test", tree).queries) == 16


def test_a_missing_city_is_named_and_only_the_cities_of_the_split_are_needed(tree):
    shutil.rmtree(tree / "Seattle")
    with pytest.raises(DatasetNotFoundError, match="it lacks Seattle/panorama or ground/Seattle, Seattle/satellite or"):
        load_split("vigor-cross", "train", tree)
    assert len(load_split("vigor-cross", "test", tree).queries) == 16


def test_missing_images_are_counted_and_the_first_is_named(written, tree):
    lists = written[1]["Chicago"]
    query = lists.test[1]
    panorama, positive = lists.panoramas[query], lists.shown_by[lists.test[0]][0]
    (tree / "Chicago/panorama" / panorama).unlink()
    (tree / "Chicago/satellite" / lists.tiles[positive]).unlink()
    whole = load_split("vigor-same", "test", written[0])
    gone = int((whole.query_places == positive).sum() + (whole.query_places[1] != positive))
    with pytest.raises(DatasetNotFoundError) as caught:
        load_split("vigor-same", "test", tree)
    text = str(caught.value)
    assert f"{16 - gone} of 16 pairs are complete" in text
    assert "15 of 16 panoramas and 63 of 64 tiles" in text
    assert f"the first that is missing is Chicago/satellite/{lists.tiles[positive]}" in text
    assert "--allow-partial" in text

    index = load_split("vigor-same", "test", tree, allow_partial=True)
    assert (len(index.queries), len(index.references), index.total_pairs) == (16 - gone, 63, 16)
    assert f"{16 - gone} of 16 pairs" in index.notes[-1]
    left = {row[0]: row for row in as_names(whole)}
    for row in as_names(index):
        assert [tile for tile in left[row[0]] if tile in row] == list(row)
        assert row[:2] == left[row[0]][:2]
    assert (index.query_places == index.reference_places[index.pairs[:, 1]]).all()


def test_a_missing_distractor_makes_the_gallery_partial(written, tree):
    lists = written[1]["Chicago"]
    positives = {tiles[0] for tiles in lists.shown_by}
    distractor = next(i for i in range(16) if i not in positives)
    (tree / "Chicago/satellite" / lists.tiles[distractor]).unlink()
    with pytest.raises(DatasetNotFoundError, match="16 of 16 panoramas and 31 of 32 tiles"):
        load_split("vigor-cross", "test", tree)
    index = load_split("vigor-cross", "test", tree, allow_partial=True)
    assert (len(index.queries), len(index.references)) == (16, 31)
    assert "31 of 32 tiles of the gallery" in index.notes[-1]


def test_an_empty_folder(tree):
    for path in (tree / "Chicago/panorama").iterdir():
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match="12 of 16 panoramas .* first .* is Chicago/panorama/"):
        load_split("vigor-same", "test", tree)
    for city in CITIES:
        shutil.rmtree(tree / city / "panorama")
        (tree / city / "panorama").mkdir()
    with pytest.raises(DatasetNotFoundError, match="0 of 16 pairs"):
        load_split("vigor-same", "test", tree, allow_partial=True)
