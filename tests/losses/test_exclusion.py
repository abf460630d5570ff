"""Places too near to be negatives: the table against loops, and the loss with them against its definition."""

from __future__ import annotations

import copy
from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.reducers import DoNothingReducer

from geodtr_plugin import CHSG
from geodtr_plugin.losses import NearbyPlaces, SoftMarginTripletLoss
from geodtr_plugin.miners.twin import twin_triplets
from geodtr_plugin.utils.errors import UserError

PLACES = np.array([7, -3, 2**41, 12, 2**41 + 1])
METRES = np.array([[0.0, 0], [24.9, 0], [0, 25.0], [10.0, 10], [300, 0]]) + (690_000, 6_090_000)  # UTM, Canberra


def by_loop(places, metres, radius, labels, ref_labels, samples):
    """The rule, pair by pair."""
    at = {}
    for place, point in zip(places, metres):
        at.setdefault(int(place), point)
    rows = []
    for label in labels:
        one = label // samples
        others = [ref // samples for ref in ref_labels]
        rows.append([
            one in at and o in at and o != one and float(np.hypot(*(at[one] - at[o]))) < radius for o in others
        ])  # fmt: skip
    return rows


@pytest.mark.parametrize("samples", [1, 2])
def test_places_nearer_than_the_radius_are_excluded(samples):
    labels = samples * torch.from_numpy(PLACES)
    excluded = NearbyPlaces(PLACES, METRES, 25.0, samples)(labels, labels)
    expected = by_loop(PLACES, METRES, 25.0, labels.tolist(), labels.tolist(), samples)
    assert excluded.tolist() == expected
    assert excluded[0].tolist() == [False, True, False, True, False]  # 25.0 m is no longer nearer


def test_labels_of_64_bits_after_chsg():
    places = np.array([2**63 - 1, 2**63 - 2, 2**62, -(2**63) + 5, -(2**62) - 1, 3, -4])
    metres = np.arange(7)[:, None] * [10.0, 0]
    images = torch.zeros(7, 3, 8, 8)
    _, _, labels = CHSG(variant="l")(images, images, torch.from_numpy(places))
    assert len(labels.unique()) == 14 and torch.equal(labels[7:], labels[:7] ^ 1)
    excluded = NearbyPlaces(places, metres, 15.0)(labels, labels)
    row = torch.arange(7).repeat(2)
    assert torch.equal(excluded, (row[:, None] - row).abs() == 1)
    anchor, positive, twin = twin_triplets(labels, labels.clone())
    assert torch.equal(anchor, torch.arange(14)) and torch.equal(twin, torch.arange(14).roll(7))


def test_labels_that_do_not_fit_into_64_bits_are_refused():
    for places, samples in (([2**63 - 1, -1], 2), ([2**62], 3)):
        with pytest.raises(ValueError, match="do not fit into 64 bits"):
            NearbyPlaces(np.array(places), np.zeros((len(places), 2)), 15.0, samples)
    NearbyPlaces(np.array([2**63 - 1, -1]), np.zeros((2, 2)), 15.0, 1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=12),
    st.lists(st.integers(-24, 24), max_size=8), st.lists(st.integers(-24, 24), max_size=8), st.integers(1, 2),
)  # fmt: skip
def test_any_labels_as_in_a_loop(rows, labels, ref_labels, samples):
    table = np.array(rows)
    places, metres = table[:, 0] * 10**12, table[:, 1:] + 5e6 + 0.25
    far = (10**12 - 1) * samples
    scaled = [[label + far * (label // samples) for label in part] for part in (labels, ref_labels)]
    found = NearbyPlaces(places, metres, 24.999, samples)(*(torch.tensor(part, dtype=torch.int64) for part in scaled))
    assert found.shape == (len(labels), len(ref_labels)) and found.dtype == torch.bool
    assert found.tolist() == by_loop(places, metres, 24.999, *scaled, samples)


def test_twins_stay_negatives_of_each_other_and_neighbours_twins_do_not():
    excluded = NearbyPlaces([4, 5, 9], [[0.0, 0], [3, 0], [900, 0]], 25.0)
    labels = torch.tensor([8, 10, 18, 9, 11, 19])  # as CHSG labels the places 4, 5, 9
    near = excluded(labels, labels)
    assert near[0].tolist() == [False, True, False, False, True, False]
    assert torch.equal(near, near.T) and not near[2].any() and not near[5].any()


def test_labels_that_are_no_places_exclude_nothing():
    excluded = NearbyPlaces([4, 5], [[0.0, 0], [3, 0]], 25.0, 1)
    assert excluded(torch.tensor([4, -1, 3, 6]), torch.tensor([5, -1], dtype=torch.int32)).tolist() == [
        [True, False], [False, False], [False, False], [False, False],
    ]  # fmt: skip


@pytest.mark.parametrize("latitude", [0.0, -35.3, 71.0])
def test_latitude_and_longitude(latitude):
    step = 1 / 111_195.08  # degrees of a metre along a meridian
    wide = step / np.cos(np.radians(latitude))
    latlon = np.array([[0, 0], [24.9 * step, 0], [25.1 * step, 0], [0, 24.9 * wide], [0, 25.1 * wide]])
    places = np.arange(5)
    for east in (149.1, 179.9999):
        moved = latlon + (latitude, east)
        moved[:, 1] = (moved[:, 1] + 180) % 360 - 180
        labels = torch.arange(5)
        excluded = NearbyPlaces.from_coordinates(places, moved, "latlon", 25.0, samples_per_place=1)
        assert excluded(labels, labels)[0].tolist() == [False, True, False, True, False]
    in_metres = NearbyPlaces.from_coordinates(PLACES, METRES, "metres", 25.0)
    labels = 2 * torch.from_numpy(PLACES)
    assert torch.equal(in_metres(labels, labels), NearbyPlaces(PLACES, METRES, 25.0)(labels, labels))


def test_the_tables_follow_the_labels_and_are_in_no_checkpoint():
    excluded = NearbyPlaces(PLACES, METRES, 25.0, 1)
    assert excluded(torch.empty(3, dtype=torch.int64, device="meta"), torch.empty(2, dtype=torch.int64, device="meta")
                    ).shape == (3, 2)  # fmt: skip
    assert excluded.places.device.type == "meta"
    loss = SoftMarginTripletLoss(exclusion=NearbyPlaces(PLACES, METRES, 25.0))
    assert copy.deepcopy(loss).state_dict() == {}


def naive_direction(rows, labels, others, other_labels, excluded, alpha=10.0):
    """All terms of one direction, one after another, without those whose negative is excluded."""
    rows, others = F.normalize(rows).tolist(), F.normalize(others).tolist()
    terms = []
    for a, label, out in zip(rows, labels, excluded):
        d = [sum((x - y) ** 2 for x, y in zip(a, o)) for o in others]
        for p, positive in enumerate(other_labels):
            for n, negative in enumerate(other_labels):
                if positive == label and negative != label and not out[n]:
                    terms.append(log(1 + exp(alpha * (d[p] - d[n]))))
    return sum(terms) / len(terms)


@pytest.mark.parametrize(
    ("labels", "ref_labels"),
    [
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([4, 1, 0, 3, 2], [0, 1, 2, 3, 4]),  # one positive each, in another order
        ([0, 0, 1, 2, 3], [0, 1, 1, 3, 2]),
        ([0, 4], [4, 1, 2, 0]),
    ],
)
def test_the_loss_is_its_definition_without_the_excluded_terms(labels, ref_labels):
    query = torch.randn(len(labels), 6, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(len(ref_labels), 6, dtype=torch.float64, requires_grad=True)
    nearby = NearbyPlaces(np.arange(5), METRES, 25.0, samples_per_place=1)
    labels, ref_labels = torch.tensor(labels), torch.tensor(ref_labels)
    excluded = nearby(labels, ref_labels)
    assert excluded.any()
    there = naive_direction(query, labels.tolist(), reference, ref_labels.tolist(), excluded.tolist())
    back = naive_direction(reference, ref_labels.tolist(), query, labels.tolist(), excluded.T.tolist())
    loss = SoftMarginTripletLoss(exclusion=nearby)
    value = loss(query, labels, ref_emb=reference, ref_labels=ref_labels)
    assert value.item() == pytest.approx((there + back) / 2, rel=1e-9)
    assert value != SoftMarginTripletLoss()(query, labels, ref_emb=reference, ref_labels=ref_labels)
    assert torch.autograd.gradcheck(lambda q, r: loss(q, labels, ref_emb=r, ref_labels=ref_labels), (query, reference))


def test_an_excluded_pair_has_no_part_in_the_gradient():
    query, reference = torch.eye(3, requires_grad=True), torch.eye(3).roll(1, 0).requires_grad_()
    everything = NearbyPlaces([0, 1, 2], np.zeros((3, 2)), 1.0, samples_per_place=1)
    labels = torch.arange(3)
    loss = SoftMarginTripletLoss(exclusion=everything)(query, labels, ref_emb=reference, ref_labels=labels)
    loss.backward()
    assert loss == 0 and not query.grad.any() and not reference.grad.any()


def test_triplets_that_a_miner_lists_count_as_they_are():
    query, reference = torch.randn(3, 4), torch.randn(3, 4)
    everything = NearbyPlaces([0, 1, 2], np.zeros((3, 2)), 1.0, samples_per_place=1)
    listed = tuple(torch.tensor(x) for x in ([0, 1], [0, 1], [2, 0]))
    with_it = SoftMarginTripletLoss(exclusion=everything)(query, torch.arange(3), listed, reference, torch.arange(3))
    assert with_it == SoftMarginTripletLoss()(query, torch.arange(3), listed, reference, torch.arange(3)) > 0


def test_terms_leave_within_one_set_and_under_other_reducers_too():
    embeddings = torch.randn(4, 5)
    nearby = NearbyPlaces([0, 1], [[0.0, 0], [3, 0]], 25.0)
    labels = torch.tensor([0, 0, 1, 2])  # 0 and 1 are twins, 2 is the neighbour
    terms = SoftMarginTripletLoss(exclusion=nearby, reducer=DoNothingReducer())(embeddings, labels)["loss"]
    assert terms["indices"].tolist() == [0, 1]  # (0, 1) and (1, 0), each against the twin
    listed = (torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2, 2]))
    expected = SoftMarginTripletLoss(reducer=DoNothingReducer())(embeddings, labels, listed)["loss"]["losses"]
    torch.testing.assert_close(terms["losses"], expected)


def test_faults_are_told():
    with pytest.raises(ValueError, match="needs labels"):
        SoftMarginTripletLoss(exclusion=NearbyPlaces([0], [[0.0, 0]], 1.0))(torch.rand(2, 3), ref_emb=torch.rand(2, 3))
    with pytest.raises(ValueError, match="5 places came with"):
        NearbyPlaces(PLACES, METRES[:4], 25.0)
    with pytest.raises(ValueError, match="finite"):
        NearbyPlaces(PLACES, METRES * np.nan, 25.0)
    with pytest.raises(ValueError, match="radius"):
        NearbyPlaces(PLACES, METRES, 0.0)
    with pytest.raises(TypeError, match="integers"):
        NearbyPlaces(PLACES.astype(float), METRES, 25.0)
    with pytest.raises(UserError, match="Latitude comes first"):
        NearbyPlaces.from_coordinates(PLACES, METRES, "latlon", 25.0)
    assert "radius=25" in repr(NearbyPlaces(PLACES, METRES, 25))
