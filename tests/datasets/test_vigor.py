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


def expected(cities, name, part):
    """(panorama, positive, semi-positives) as file names in the order of the lists, and the gallery's names."""
    rows, gallery = [], []
    for city in cities:
        lists = range(len(city.panoramas)) if name != "vigor-same" else getattr(city, part)
        tiles = stems(city.tiles)
        rows += [(city.panoramas[i], *(tiles[tile] for tile in city.shown_by[i])) for i in lists]
        gallery += tiles
    return rows, gallery


def as_names(split):
    ids = list(split.references.ids)
    return [
        (path.rpartition("/")[2], *(ids[i] for i in (*split.truth.positives[q], *split.truth.ignored[q])))
        for q, path in enumerate(split.queries.paths)
    ]


CASES = [
    ("vigor-same", "train", list(CITIES)),
    ("vigor-same", "test", list(CITIES)),
    ("vigor-cross", "train", EAST_AND_NORTH),
    ("vigor-cross", "test", WEST_AND_MIDDLE),
    ("vigor-cross-reverse", "train", WEST_AND_MIDDLE),
    ("vigor-cross-reverse", "test", EAST_AND_NORTH),
]


@pytest.mark.parametrize(("name", "part", "cities"), CASES)
def test_panoramas_tiles_and_gallery_are_those_of_the_lists_in_their_order(written, name, part, cities):
    root, lists = written
    split = load_split(name, part, root)
    rows, gallery = expected([lists[city] for city in cities], name, part)
    assert as_names(split) == rows
    assert list(split.references.ids) == gallery
    assert split.pairs.tolist() == [[q, split.truth.positives[q][0]] for q in range(len(rows))]
    assert (split.percent_rounding, split.centred, split.total_pairs) == ("floor_plus_one", False, len(rows))


def test_two_panoramas_of_a_tile_are_one_place_and_tiles_are_places(written):
    split = load_split("vigor-cross", "train", written[0])
    positives = [split.truth.positives[q][0] for q in range(len(split.queries))]
    assert split.query_places.tolist() == positives
    assert split.reference_places.tolist() == list(range(len(split.references)))
    assert len(set(positives)) < len(positives)


def test_coordinates_are_in_the_names(written):
    root, lists = written
    split = load_split("vigor-cross", "test", root)
    assert split.queries.coordinate_kind == split.references.coordinate_kind == "latlon"
    for images in (split.queries, split.references):
        near = CITIES["SanFrancisco"]
        assert np.abs(images.coordinates[0] - near).max() < 0.01
    latitude, longitude = lists["SanFrancisco"].panoramas[0].split(",")[1:3]
    assert split.queries.coordinates[0].tolist() == [float(latitude), float(longitude)]
    assert split.queries.ids[0] == lists["SanFrancisco"].panoramas[0].split(",")[0]


def test_images_are_those_of_the_pair(written):
    root, lists = written
    split = load_split("vigor-same", "test", root)
    seattle = lists["Seattle"]
    query, reference = split.pairs[-1]
    place = 3000 + seattle.shown_by[seattle.test[-1]][0]
    tile = torch.from_numpy(smooth_noise("aerial", place, 32, 32).copy()).permute(2, 0, 1)
    assert torch.equal(split.references.read(reference), tile)
    panorama = torch.from_numpy(smooth_noise("ground", place, 32, 64).copy()).permute(2, 0, 1)
    assert (split.queries.read(query).int() - panorama.int()).abs().max() < 32


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
    for name, part in (("vigor-same", "test"), ("vigor-cross", "train")):
        theirs, ours = load_split(name, part, tmp_path), load_split(name, part, written[0])
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
    split = load_split("vigor-same", "test", tmp_path)
    assert layout in split.layout and str(tmp_path) in split.layout
    assert split.provenance == provenance


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
        split = load_split("vigor-same", "test", written[0], labels=labels)
        assert f"{labels} lists" in split.layout
    with pytest.raises(UnknownNameError, match="kind of VIGOR labels 'correct'.*corrected"):
        load_split("vigor-same", "test", written[0], labels="correct")
    write_vigor(tmp_path, labels=["splits"])
    with pytest.raises(DatasetNotFoundError, match=r"same_area_balanced_test__corrected\.txt.*splits\.zip"):
        load_split("vigor-same", "test", tmp_path, labels="corrected")


def test_released_numbers_make_no_note(written, monkeypatch):
    root, lists = written
    assert "Chicago 16 (22,308) and 4 (12,739)" in load_split("vigor-same", "test", root).notes[0]
    for city in CITIES:
        released = RELEASED[city]._replace(tiles=16, pano_label_balanced=8)
        released = released._replace(same_area_balanced_train=4, same_area_balanced_test=4)
        monkeypatch.setitem(RELEASED, city, released)
    for name in NAMES:
        split = load_split(name, "test", root)
        assert (split.notes, split.provenance) == ((), "corrected")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_list_is_named_with_where_it_comes_from(written, tree, name):
    for path in tree.glob("splits*/Chicago/*"):
        path.unlink()
    lists = "same_area_balanced_test" if name == "vigor-same" else "pano_label_balanced"
    part = "train" if name == "vigor-cross-reverse" else "test"
    with pytest.raises(DatasetNotFoundError, match=rf"Chicago/{lists}__corrected\.txt.*splits\.zip.*--data-root"):
        load_split(name, part, tree)


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
    assert f"{16 - gone} of 16 pairs are there" in text
    assert "1 of 16 panoramas and 1 of 64 tiles" in text
    assert f"the first is Chicago/panorama/{panorama}" in text
    assert "--allow-partial" in text

    split = load_split("vigor-same", "test", tree, allow_partial=True)
    assert (len(split.queries), len(split.references), split.total_pairs) == (16 - gone, 63, 16)
    assert f"{16 - gone} of 16 pairs" in split.notes[-1]
    left = {row[0]: row for row in as_names(whole)}
    for row in as_names(split):
        assert [tile for tile in left[row[0]] if tile in row] == list(row)
        assert row[:2] == left[row[0]][:2]
    assert (split.query_places == split.reference_places[split.pairs[:, 1]]).all()


def test_a_missing_distractor_makes_the_gallery_partial(written, tree):
    lists = written[1]["Chicago"]
    positives = {tiles[0] for tiles in lists.shown_by}
    distractor = next(i for i in range(16) if i not in positives)
    (tree / "Chicago/satellite" / lists.tiles[distractor]).unlink()
    with pytest.raises(DatasetNotFoundError, match="0 of 16 panoramas and 1 of 32 tiles"):
        load_split("vigor-cross", "test", tree)
    split = load_split("vigor-cross", "test", tree, allow_partial=True)
    assert (len(split.queries), len(split.references)) == (16, 31)
    assert "1 of 32 tiles of the gallery" in split.notes[-1]


def test_an_empty_folder(tree):
    for path in (tree / "Chicago/panorama").iterdir():
        path.unlink()
    with pytest.raises(DatasetNotFoundError, match="4 of 16 panoramas .* first is Chicago/panorama/"):
        load_split("vigor-same", "test", tree)
    for city in CITIES:
        shutil.rmtree(tree / city / "panorama")
        (tree / city / "panorama").mkdir()
    with pytest.raises(DatasetNotFoundError, match="0 of 16 pairs"):
        load_split("vigor-same", "test", tree, allow_partial=True)
