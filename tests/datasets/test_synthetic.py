"""The synthetic worlds as data sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geodtr_plugin.datasets import list_datasets, load_split
from geodtr_plugin.datasets.base import PairDataset
from geodtr_plugin.datasets.synthetic import COUNTS, NAMES, load_synthetic
from geodtr_plugin.utils.errors import UnknownNameError
from geodtr_plugin.worlds import World, WorldSpec

SMALL = {"count": 6, "panorama_size": (16, 32), "aerial_size": 48}


def test_every_world_is_registered():
    assert set(NAMES) <= set(list_datasets())
    assert set(COUNTS) == {"train", "test"} and COUNTS["test"] >= 400


@pytest.mark.parametrize("split", ("train", "test"))
def test_centred_world(split):
    index = load_split("synth-country", split, **SMALL)
    assert (len(index.queries), len(index.references), index.centred) == (6, 6, True)
    assert index.percent_rounding == "floor" and index.truth.ignored is None
    assert np.array_equal(index.pairs, np.stack([np.arange(6)] * 2, axis=1))
    query, reference, place = PairDataset(index)[4]
    assert query.shape == (3, 16, 32) and reference.shape == (3, 48, 48) and place == 4
    assert query.dtype == reference.dtype == torch.uint8
    world = World.load(WorldSpec("country", split, 6, (16, 32), 48))
    assert np.array_equal(query.permute(1, 2, 0).numpy(), world.query_images[4])
    assert index.queries.coordinate_kind == "metres"


def test_offset_world():
    index = load_synthetic("synth-country-offset", "test", **SMALL)
    assert len(index.queries) == 6 < len(index.references)
    assert not index.centred and index.percent_rounding == "floor_plus_one"
    assert len(np.unique(index.reference_places)) == len(index.references)
    for query in range(6):
        (positive,), ignored = index.truth.positives[query], index.truth.ignored[query]
        assert index.query_places[query] == index.reference_places[positive] and len(set(ignored)) == 3
        apart = np.abs(index.references.coordinates[[positive, *ignored]] - index.queries.coordinates[query])
        assert (apart < 36).all() and (apart[0] <= 18).all()


def test_names_and_fingerprints_tell_worlds_apart():
    one, again, other = (load_split("synth-country", split, **SMALL) for split in ("train", "train", "test"))
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
    with pytest.raises(UnknownNameError, match="synth-suburb"):
        load_synthetic("synth-suburbs", "train")
