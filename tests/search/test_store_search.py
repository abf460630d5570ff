"""Search in a store, embedded and over the network, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from stores import RECORD, filled, references, unit

from geodtr_plugin.search.area import Area
from geodtr_plugin.search.store import gallery as module
from geodtr_plugin.search.store.address import Address, is_address
from geodtr_plugin.search.store.collection import Collection, cell_of, number_of, reference_id
from geodtr_plugin.search.store.connection import Connection
from geodtr_plugin.search.store.gallery import StoreGallery
from geodtr_plugin.utils.errors import UserError

COUNT = 700
VECTORS, QUERIES = unit(COUNT), unit(8, seed=1)
PLACES = np.stack([-17 + np.arange(COUNT) // 25 * 0.001, 179.988 + np.arange(COUNT) % 25 * 0.001], axis=1)
PLACES[:, 1] = (PLACES[:, 1] + 180) % 360 - 180  # a town on both sides of the date line
NUMBERS = {reference.id: row for row, reference in enumerate(references(PLACES))}


def nearest(rows, k):
    products = QUERIES @ VECTORS[rows].T
    order = np.argsort(-products, axis=1)[:, :k]
    return np.take_along_axis(products, order, axis=1), rows[order]


@pytest.fixture(scope="module", params=["auto", "flat", "IVF_SQ8", "served"])
def gallery(request, tmp_path_factory):
    kind, address = request.param, f"milvus:{tmp_path_factory.mktemp('stores') / 'city.db'}"
    if kind == "served":
        kind, address = "auto", request.getfixturevalue("served")
    with filled(address, "city", VECTORS, PLACES, kind) as collection:
        yield StoreGallery(collection)


@pytest.fixture(params=["embedded", "served"])
def address(request, tmp_path):
    return f"milvus:{tmp_path / 'city.db'}" if request.param == "embedded" else request.getfixturevalue("served")


def test_the_most_similar_are_those_of_brute_force(gallery):
    found, keys = gallery.search(QUERIES, 7, nprobe=16)
    similarities, rows = nearest(np.arange(COUNT), 7)
    np.testing.assert_array_equal([[NUMBERS[key] for key in line] for line in keys.tolist()], rows)
    np.testing.assert_allclose(found, similarities, atol=1e-6)  # by the stored vectors, also where they are compressed
    assert len(gallery) == COUNT and gallery.reference(int(keys[0, 0])) == (
        f"/tiles/{rows[0, 0]}.png", *PLACES[rows[0, 0]].tolist(),
    )  # fmt: skip
    np.testing.assert_allclose(gallery.take(keys[0]), VECTORS[rows[0]], atol=1e-6)


@pytest.mark.parametrize("explored", [1, 128])  # few nodes: it must look at more
def test_an_area_is_its_circle_across_the_date_line(gallery, explored, monkeypatch):
    monkeypatch.setattr(module, "EXPLORED", explored)
    area = Area(-16.99, 179.999, 700)
    inside = np.flatnonzero(area.holds(PLACES))
    assert 100 < len(inside) < 200 and {-1.0, 1.0} == set(np.sign(PLACES[inside, 1]))
    found, keys = gallery.search(QUERIES, 5, area=area, nprobe=4)  # of 16: where a fourth is left, all
    got = [[NUMBERS[key] for key in line] for line in keys.tolist()]
    np.testing.assert_array_equal(got, nearest(inside, 5)[1])
    for number, line in enumerate(got):
        np.testing.assert_allclose(found[number], VECTORS[line] @ QUERIES[number], atol=1e-6)
    few = gallery.search(QUERIES[:1], 5, area=Area(*PLACES[3], 60.0), nprobe=1)[1]
    assert [NUMBERS.get(key) for key in few[0].tolist()] == [3, None, None, None, None]
    assert (gallery.search(QUERIES, 2, area=Area(50.0, 8.0, 5000.0))[1] == -1).all()


def test_places_near_others_are_drawn(gallery):
    drawn = {tuple(place) for place in gallery.places(PLACES[[35, 38]]).tolist()}
    near = Area.around(PLACES[[35, 38]], 1000.0).holds(PLACES)
    assert drawn >= {tuple(place) for place in PLACES[near].tolist()} and 100 < near.sum() < len(drawn) < COUNT
    assert gallery.places(PLACES[:0]).shape == (0, 2) and gallery.cut_of("/tiles/1.png") is None


def test_an_exact_search_needs_an_exact_index(gallery):
    if gallery.collection.kind == "FLAT":
        gallery.search(QUERIES, 2, exact=True)
    else:
        with pytest.raises(UserError, match="compares by its index. Build with --kind flat"):
            gallery.search(QUERIES, 2, exact=True)
    with pytest.raises(UserError, match="knows no distance but the inner product"):
        gallery.search(QUERIES, 2, distance=object())
    with pytest.raises(UserError, match="1 at least"):
        gallery.search(QUERIES, 0)


def test_regions_are_written_again_and_deleted(address):
    with filled(address, "regions", VECTORS[:60], PLACES[:60], "flat") as collection:
        few = references(PLACES)[:5]
        collection.write(few, VECTORS[60:65])
        assert len(collection) == 60  # in place of those that were there
        np.testing.assert_allclose(StoreGallery(collection).take(np.array([few[2].id])), VECTORS[[62]], atol=1e-6)
        area = Area(*PLACES[12], 250.0)
        inside = area.holds(PLACES[:60])
        assert collection.delete(area) == inside.sum() > 3
        left = collection.states([reference.id for reference in references(PLACES)[:60]])
        assert set(left) == {one.id for one, gone in zip(references(PLACES), inside) if not gone}
        assert collection.delete(source='/tiles "2"\\') == 0 and collection.delete(source="/tiles") == len(left)
        with pytest.raises(UserError, match="Collection regions of .* holds nothing yet"):
            StoreGallery(collection)
        collection.drop()
        with pytest.raises(UserError, match="has no collection regions"):
            Collection(collection.connection, "regions")


def test_only_collections_of_this_package_are_read(address):
    with Connection(Address.parse(address)) as connection:
        connection.client.create_collection("other", dimension=4)
        with pytest.raises(UserError, match="was not made by geodtr index build"):
            Collection(connection, "other")
        with pytest.raises(UserError, match="32,768 numbers at most, and the model's have 40,000"):
            Collection.make(connection, "large", RECORD, 40_000, "auto", 5)
        with pytest.raises(UserError, match="refuses: "):
            connection.ask("query", "other", filter="no such field == 1")


def test_an_index_that_is_refused_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*_):
        raise UserError("no")

    with Connection(Address.parse(f"milvus:{tmp_path / 'city.db'}")) as connection:
        Collection.make(connection, "before", RECORD, 4, "auto", 5)
        monkeypatch.setattr(Collection, "_index", refuse)
        connection.client.release_collection("before")
        connection.client.drop_index("before", "vector")
        for name in ("before", "new"):
            with pytest.raises(UserError, match="no"):
                Collection.make(connection, name, RECORD, 4, "auto", 5)
        assert connection.client.list_collections() == ["before"]  # what was there is nobody's to drop


def test_what_milvus_lite_has_not_is_refused(tmp_path):
    with Connection(Address.parse(f"milvus:{tmp_path / 'city.db'}")) as connection:
        with pytest.raises(UserError, match="no index in Milvus Lite named 'IVF_PQ'. Did you mean 'IVF_SQ8'"):
            Collection.make(connection, "odd", RECORD, 4, "ivfpq", 5)


def test_addresses(tmp_path):
    assert is_address("milvus:a.db") and is_address("https://a:1") and not is_address("a.index")
    (tmp_path / "file.db").write_text("x")
    for text, sentence in (
        ("city.db", "Write milvus:city.db"), ("milvus:city", "ends with .db"), (f"milvus:{tmp_path}/file.db", "a file"),
        (f"milvus:{tmp_path}/no/city.db", "no is no folder"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            Address.parse(text)


def test_numbers_and_cells():
    assert 0 <= reference_id("/a", "b", "") < 2**63 and reference_id("/a", "b", "") == reference_id("/a", "b", "")
    names = (("a", "b", ""), ("ab", "", ""), ("a", "", "b"), ("", "a", "b"))
    assert len({reference_id(*words) for words in names}) == 4
    assert number_of("\udcff") != number_of("\udcfe")  # names that are no UTF-8
    assert cell_of(48.137, 11.575) == "12/2179/1421" and cell_of(999.0, 999.0) == ""
    assert cell_of(90.0, 180.0) == "12/0/0"
