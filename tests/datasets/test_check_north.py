"""North is found in the pictures, to a few degrees, and what is wrong with it is named."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from geodtr_plugin.datasets import ImageArray, Split, facts_of, load_split
from geodtr_plugin.datasets.check import Finding, Inspection, check_north
from geodtr_plugin.datasets.check.images import open_images


def find_north(split: Split) -> Finding:
    (finding,) = check_north(Inspection(facts_of(split.name), [split], open_images([split], 2), False, 64, 0))
    return finding


def text_of(wrong: Split) -> str:
    finding = find_north(wrong)
    assert not finding.sound
    return finding.text


@pytest.mark.slow
@pytest.mark.parametrize("style", ["suburb", "downtown", "country", "oldtown"])
def test_north_is_found_in_every_world(style):
    split = load_split(f"synth-{style}", "test", count=64)
    finding = find_north(split)
    assert finding.sound and "at the centre" in finding.text
    assert float(finding.text.split(" to ")[1].split()[0]) <= 3
    array = split.queries.array
    assert "south-centred" in text_of(replace(split, queries=ImageArray(np.roll(array, 88, axis=2))))
    assert "mirrored:" in text_of(replace(split, queries=ImageArray(array[:, :, ::-1])))
    turned = text_of(replace(split, queries=ImageArray(np.roll(array, 30, axis=2))))
    assert float(re.search(r"but (\d+) degrees right", turned)[1]) == pytest.approx(30 / 176 * 360, abs=3)


def test_pictures_of_other_places_show_no_angle():
    split = load_split("synth-suburb", "test", count=64)
    strangers = replace(split, queries=ImageArray(np.roll(split.queries.array, 1, axis=0)))
    finding = find_north(strangers)
    assert not finding.sound and "not aligned" in finding.text
    assert find_north(strangers.limit(16)).sound  # too few to say so
    assert "too few" in find_north(split.limit(4)).text
