"""The synthetic worlds as data sets: panoramas over tiles, and two drives through the same streets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geodtr_plugin.datasets import PairDataset, facts_of, list_datasets, load_split
from geodtr_plugin.datasets.check import check_dataset
from geodtr_plugin.datasets.synthetic import COUNTS, GROUND_NAMES, NAMES, load_ground, load_synthetic, pair_headings
from geodtr_plugin.utils.errors import UnknownNameError
from geodtr_plugin.worlds import Drives, DriveSpec, World, WorldSpec
from geodtr_plugin.worlds.drives import PHOTOS

SMALL = {"count": 6, "panorama_size": (16, 32), "aerial_size": 48}
SMALL_GROUND = {"count": 8, "view_size": (16, 22)}


def test_every_world_is_registered():
    assert set(NAMES) <= set(list_datasets())
    assert set(COUNTS) == {"train", "test"} and COUNTS["test"] >= 400


@pytest.mark.parametrize("part", ("train", "test"))
def test_centred_world(part):
    split = load_split("synth-country", part, **SMALL)
    assert (len(split.queries), len(split.references), split.centred) == (6, 6, True)
    assert split.percent_rounding == "floor" and split.truth.ignored is None
    assert np.array_equal(split.pairs, np.stack([np.arange(6)] * 2, axis=1))
    query, reference, place = PairDataset(split)[4]
    assert query.shape == (3, 16, 32) and reference.shape == (3, 48, 48) and place == 4
    assert query.dtype == reference.dtype == torch.uint8
    world = World.load(WorldSpec("country", part, 6, (16, 32), 48))
    assert np.array_equal(query.permute(1, 2, 0).numpy(), world.query_images[4])
    assert split.queries.coordinate_kind == "metres"


def test_offset_world():
    split = load_synthetic("synth-country-offset", "test", **SMALL)
    assert len(split.queries) == 6 < len(split.references)
    assert not split.centred and split.percent_rounding == "floor_plus_one"
    assert len(np.unique(split.reference_places)) == len(split.references)
    for query in range(6):
        (positive,), ignored = split.truth.positives[query], split.truth.ignored[query]
        assert split.query_places[query] == split.reference_places[positive] and len(set(ignored)) == 3
        difference = np.abs(split.references.coordinates[[positive, *ignored]] - split.queries.coordinates[query])
        assert (difference < 36).all() and (difference[0] <= 18).all()


def test_names_and_fingerprints_tell_worlds_apart():
    one, again, other = (load_split("synth-country", split, **SMALL) for split in ("train", "train", "test"))
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
    with pytest.raises(UnknownNameError, match="synth-suburb"):
        load_synthetic("synth-suburbs", "train")


@pytest.fixture(scope="module")
def drives():
    return Drives.load(DriveSpec("suburb", "test", 8, (16, 22)), progress=False)


def test_every_style_is_registered_for_a_laptop_without_polar():
    assert set(GROUND_NAMES) <= set(list_datasets()) and len(GROUND_NAMES) == 4
    assert {(facts_of(name).scale, facts_of(name).centred) for name in GROUND_NAMES} == {("laptop", False)}
    with pytest.raises(UnknownNameError, match="synth-suburb-ground"):
        load_ground("synth-suburbs-ground", "train")


def test_truth_is_what_a_plain_loop_says():
    split = load_split("synth-suburb-ground", "test", **SMALL_GROUND)
    at, around = split.queries.coordinates, split.references.coordinates
    right = [[j for j, r in enumerate(around) if np.sqrt(((q - r) ** 2).sum()) <= 10] for q in at]
    assert [split.truth.positives[i].tolist() for i in range(8)] == right
    assert all(set(range(PHOTOS * i, PHOTOS * i + PHOTOS)) <= set(right[i]) for i in range(8))  # its own place is right
    assert (len(split.references), split.ks, split.centred) == (8 * PHOTOS, (1, 5, 10, 20), False)
    assert split.exclusion_radius is None and split.queries.coordinate_kind == "metres"
    assert load_split("synth-suburb-ground", "train", **SMALL_GROUND).exclusion_radius == 25


def test_pairs_look_the_same_way(drives):
    split = load_split("synth-suburb-ground", "test", **SMALL_GROUND)
    for query, reference in split.pairs:
        difference = abs((drives.query_headings[query] - drives.reference_headings[reference] + 180) % 360 - 180)
        assert reference // PHOTOS == query and difference <= 180 / PHOTOS + 3  # a column is 4 degrees wide


def test_the_two_photos_of_a_pair_show_the_same_directions():
    """Turned by the difference of their headings, they resemble each other more than other places' photos do."""
    drives = Drives.load(DriveSpec("suburb", "test", 40, (16, 22)), progress=False)
    pairs = pair_headings(drives)
    shifts = np.rint(((drives.query_headings - drives.reference_headings[pairs[:, 1]] + 180) % 360 - 180) / 90 * 22)

    def resemblance(query: int, reference: int, shift: int) -> float:
        both = [photo[4:13].mean(2) for photo in (drives.query_images[query], drives.reference_images[reference])]
        width = 22 - abs(shift)
        shared = both[0][:, max(-shift, 0) :][:, :width], both[1][:, max(shift, 0) :][:, :width]
        return float(np.corrcoef(shared[0].ravel(), shared[1].ravel())[0, 1])

    def mean(step: int, sign: int = 1) -> float:
        others = np.roll(pairs[:, 1], step)
        return float(np.mean([resemblance(q, r, sign * int(s)) for q, r, s in zip(pairs[:, 0], others, shifts)]))

    assert mean(0) > max(mean(1), mean(2), mean(3)) + 0.1
    assert mean(0) > mean(0, sign=-1) + 0.05  # turned the wrong way


def test_drives_of_train_and_test_share_no_ground():
    train, test = (load_split("synth-suburb-ground", split, **SMALL_GROUND) for split in ("train", "test"))
    assert np.abs(train.references.coordinates[:, None] - test.references.coordinates[None]).max(axis=2).min() > 1000
    assert not np.array_equal(train.references.array, test.references.array)
    assert train.fingerprint() != test.fingerprint()


def test_the_check_finds_the_drives_sound():
    report = check_dataset("synth-suburb-ground", **SMALL_GROUND).report
    assert report.sound, report.lines()


def test_the_check_takes_a_seed_of_the_world():
    checked = check_dataset("synth-suburb", count=8, panorama_size=(32, 88), aerial_size=48, seed=3)
    assert "suburb-test-3" in checked.splits[-1].queries.ids[0]
