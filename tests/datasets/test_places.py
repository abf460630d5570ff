from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geodtr_plugin.datasets.places import label_places

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
