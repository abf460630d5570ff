"""Where queries stand in their tiles, and what else a training pair tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from trees_vigor import METRES_PER_PIXEL, STEP, write_vigor

from geodtr_plugin.datasets import Offsets, PairDataset, join_splits, load_split
from geodtr_plugin.datasets.pair_data import pair_data_of
from geodtr_plugin.datasets.vigor_lists import METRES_PER_PIXEL as RELEASED
from geodtr_plugin.samplers.seeded_loading import SeededBatches, SeededItems
from geodtr_plugin.utils.errors import DatasetCorruptError
from geodtr_plugin.utils.pair_data import OFFSET, PAIR_DATA, SEMI_POSITIVE, SEMI_POSITIVE_OFFSET

SMALL = {"count": 12, "panorama_size": (16, 32), "aerial_size": 24}


@pytest.fixture(scope="module")
def world():
    return load_split("synth-country-offset", "train", **SMALL)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("vigor") / "VIGOR"
    return root, write_vigor(root, labels=("splits",))


def rows_of(split):
    """Every query beside each of its references, positives and ignored."""
    both = [(q, r) for q in range(len(split.queries)) for r in (*split.truth.positives[q], *split.truth.ignored[q])]
    return np.array(both).T


def check_against_positions(split, side):
    """(down, right) times the side, in metres, is where the query was recorded in the tile."""
    queries, references = rows_of(split)
    east, north = (split.queries.coordinates[queries] - split.references.coordinates[references]).T
    expected = np.stack([-north, east], axis=1) / side
    np.testing.assert_allclose(split.offsets.of(queries, references), expected, atol=1e-6)
    assert np.abs(expected).max() <= 0.5 + 1e-9


def test_offsets_of_a_world_are_those_of_its_positions(world):
    assert set(world.offsets.metres) == {72.0} and pair_data_of(world) == PAIR_DATA
    check_against_positions(world, 72.0)
    queries, references = world.pairs.T
    assert np.abs(world.offsets.of(queries, references)).max() <= 0.25  # the positive is the nearest tile
    others = np.setdiff1d(np.arange(len(world.references)), references)[:3]
    assert np.isnan(world.offsets.of([0, 0], [10**6, int(others[0])])[0]).all()


def test_centred_sets_tell_nothing():
    split = load_split("synth-country", "train", **SMALL)
    assert split.offsets is None and pair_data_of(split) == ()


def test_offsets_follow_a_split_that_is_cut_or_joined(world):
    check_against_positions(world.limit(5), 72.0)
    plain = load_split("synth-country", "train", **SMALL)
    joined = join_splits([plain, world])
    queries, references = rows_of(world)
    moved = joined.offsets.of(queries + len(plain.queries), references + len(plain.references))
    np.testing.assert_array_equal(moved, world.offsets.of(queries, references))
    assert np.isnan(joined.offsets.of(*plain.pairs.T)).all() and np.isnan(joined.offsets.metres[0])
    assert join_splits([plain, plain]).offsets is None


def test_offsets_of_vigor_are_those_of_its_lists(tree):
    root, cities = tree
    split = load_split("vigor-cross", "train", root)
    city = cities["NewYork"]
    line = (root / "splits/NewYork/pano_label_balanced.txt").read_text().splitlines()[2].split()
    tiles = [list(split.references.ids).index(name.removesuffix(".png")) for name in line[1::3]]
    found = split.offsets.of([2] * 4, tiles)
    np.testing.assert_allclose(found[:, 0] * 640, [float(cell) for cell in line[2::3]], atol=1e-3)
    np.testing.assert_allclose(-found[:, 1] * 640, [float(cell) for cell in line[3::3]], atol=1e-3)
    assert split.offsets.metres[0] == 640 * 0.114 and len(city.tiles) < len(split.offsets.metres)
    # and they agree with the positions in the files' names: a quarter of a tile is half the distance of two tiles
    degrees = (split.queries.coordinates[2] - split.references.coordinates[tiles[0]]) * 111_320
    assert -degrees[0] == pytest.approx(found[0, 0] * 640 * METRES_PER_PIXEL, abs=0.1)
    assert np.abs(found[0]).max() * 640 * METRES_PER_PIXEL <= STEP / 2


def test_corrected_labels_have_the_measured_resolution(tmp_path):
    write_vigor(tmp_path / "VIGOR", cities=("NewYork", "Seattle"), labels=("splits__corrected",))
    split = load_split("vigor-cross", "train", tmp_path)
    assert set(split.offsets.metres) == {640 * RELEASED["corrected"][city] for city in ("NewYork", "Seattle")}


def test_an_offset_that_is_no_number_is_told_with_its_line(tmp_path):
    write_vigor(tmp_path / "VIGOR", cities=("NewYork", "Seattle"), labels=("splits",))
    path = tmp_path / "VIGOR/splits/Seattle/pano_label_balanced.txt"
    lines = path.read_text().splitlines()
    cells = lines[1].split()
    path.write_text("\n".join([lines[0], " ".join([*cells[:2], "x", *cells[3:]]), *lines[2:]]))
    with pytest.raises(DatasetCorruptError, match="Line 2 of .*an offset is no number"):
        load_split("vigor-cross", "train", tmp_path)


def test_offsets_that_name_nothing_are_refused():
    for rows in ([0, 5], [0, -1]):
        with pytest.raises(ValueError, match="not among 3"):
            Offsets(np.array([0, 1]), np.array(rows), np.zeros((2, 2)), np.ones(3))
    with pytest.raises(ValueError, match="came with offsets"):
        Offsets(np.array([0]), np.array([0, 1]), np.zeros((2, 2)), np.ones(3))


def test_items_without_more_are_as_ever(world):
    assert len(PairDataset(world)[3]) == 3


def test_a_pair_tells_its_offset_and_one_of_its_semi_positives(world):
    items = PairDataset(world, more=PAIR_DATA)
    query, reference = world.pairs[4]
    seen = set()
    for seed in range(30):
        torch.manual_seed(seed)
        *_, data = items[4]
        row = next(r for r in world.truth.ignored[query] if torch.equal(world.references.read(r), data[SEMI_POSITIVE]))
        seen.add(int(row))
        assert data[SEMI_POSITIVE_OFFSET].numpy() == pytest.approx(world.offsets.of([query], [row])[0])
        assert data[OFFSET].numpy() == pytest.approx(world.offsets.of([query], [reference])[0])
    assert seen == set(world.truth.ignored[query].tolist())


def test_a_pair_without_semi_positives_gives_its_own_reference_again(world):
    queries, references = world.pairs.T
    cut = world.keep(np.arange(len(world.queries)), np.unique(references))
    lonely = [i for i, (q, _) in enumerate(cut.pairs) if not len(cut.truth.ignored[q])]
    assert lonely
    *_, data = PairDataset(cut, more=PAIR_DATA)[lonely[0]]
    assert torch.equal(data[SEMI_POSITIVE], cut.references.read(cut.pairs[lonely[0], 1]))
    assert torch.equal(data[SEMI_POSITIVE_OFFSET], data[OFFSET])


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_drawn_follows_from_seed_and_epoch_alone(world, workers):
    def drawn(epoch, first=0):
        batches = SeededBatches([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], seed=5)
        batches.set_epoch(epoch, first)
        items = SeededItems(PairDataset(world, more=(SEMI_POSITIVE_OFFSET,)))
        return [b[3][SEMI_POSITIVE_OFFSET] for b in DataLoader(items, batch_sampler=batches, num_workers=workers)]

    one, again, other, resumed = drawn(1), drawn(1), drawn(2), drawn(1, first=2)
    assert torch.equal(torch.cat(one), torch.cat(again)) and not torch.equal(torch.cat(one), torch.cat(other))
    assert torch.equal(one[2], resumed[0])
