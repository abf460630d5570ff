"""Which images are near which, and which are one place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.datasets.places import distances, label_linked, label_places, nearest, within


@pytest.mark.parametrize("kind", ["metres", "latlon"])
def test_the_search_finds_what_comparing_all_finds(kind):
    draw = np.random.default_rng(0)
    queries, references = draw.uniform(0, 40, (60, 2)), draw.uniform(0, 40, (80, 2))
    if kind == "latlon":  # a city on the date line, far from the equator
        queries, references = ([60, 179.9998] + part * [9e-6, 18e-6] for part in (queries, references))
        queries[:, 1], references[:, 1] = ((part[:, 1] + 180) % 360 - 180 for part in (queries, references))
    table = np.stack([distances(np.repeat(q[None], 80, axis=0), references, kind) for q in queries])
    near = within(queries, references, 7.0, kind)
    assert [row.tolist() for row in near] == [np.flatnonzero(row <= 7).tolist() for row in table]
    assert 0 < len(near.values) < table.size / 2
    rows, metres = nearest(queries, references, kind)
    assert np.array_equal(rows, table.argmin(axis=1)) and np.array_equal(metres, table.min(axis=1))


def test_a_reference_at_exactly_the_radius_counts():
    query, references = np.array([[690e3, 6090e3]]), np.array([[690e3 + 3, 6090e3 + 4], [690e3 + 5.1, 6090e3]])
    near = within(query, references, 5.0, "metres")
    assert near[0].tolist() == [0]


def test_known_distances_on_the_globe():
    paris, london, antipode = [48.8566, 2.3522], [51.5074, -0.1278], [-48.8566, -177.6478]
    metres = distances(np.array([paris, paris]), np.array([london, antipode]), "latlon")
    assert metres == pytest.approx([343_556, np.pi * 6_371_008.8], rel=1e-5)


number = st.sampled_from([0.0, 1.0, 2.0, float("nan")])
tables = st.lists(st.tuples(number, number, number), min_size=1, max_size=9)


def by_hand(rows, keys):
    """Merges rows that agree in a key until nothing changes."""
    labels = list(range(len(rows)))
    changed = True
    while changed:
        changed = False
        for i in range(len(rows)):
            for j in range(len(rows)):
                agree = any(all(rows[i][k] == rows[j][k] for k in key) for key in keys)
                if agree and labels[j] < labels[i]:
                    labels[i], changed = labels[j], True
    return labels


@settings(max_examples=80, deadline=None)
@given(tables)
def test_labels_are_those_of_merging_by_hand(rows):
    table = np.array(rows)
    assert label_places(table[:, :2]).tolist() == by_hand(rows, [(0, 1)])
    assert label_places(table[:, [0, 2]], table[:, [1, 2]]).tolist() == by_hand(rows, [(0, 2), (1, 2)])


def test_links_join_over_chains():
    labels = label_linked(np.array([[0, 3], [3, 1], [4, 2]]), 6)
    assert labels[0] == labels[3] == labels[1] != labels[2] == labels[4] and len(set(labels)) == 3
