"""VIGOR's metrics against its rule, and its lists at the size that they really have."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from trees_vigor import CITIES, label_line, write_vigor

from geodtr_plugin.datasets import facts_of, load_split
from geodtr_plugin.datasets.role_files import DirectoryCache
from geodtr_plugin.datasets.vigor import RELEASED
from geodtr_plugin.evaluation import recall

LISTS = ("satellite_list", "same_area_balanced_test")


def brute_force(root, cities, query, reference):
    """R@1, 5, 10 and 1 %, and hit rate, in float64, straight from the label lines and their rule."""
    read = ["".join((root / f"splits/{city}/{name}.txt").read_text() for city in cities).splitlines() for name in LISTS]
    gallery, lines = read[0], [line.split(" ") for line in read[1]]
    counts, percent = np.zeros(5), int(0.01 * len(gallery)) + 1
    for row, line in enumerate(lines):
        scores = [float(np.dot(query[row], tile)) for tile in reference]
        positive, semi_positives = line[1], (line[4], line[7], line[10])
        own = scores[gallery.index(positive)]
        better = [tile for tile, score in zip(gallery, scores) if score >= own and tile != positive]
        for k, limit in enumerate((1, 5, 10, percent)):
            counts[k] += len(better) < limit
        counts[4] += not [tile for tile in better if tile not in semi_positives]
    return counts / len(lines)


def test_metrics_equal_a_loop_over_the_label_lines(tmp_path):
    write_vigor(tmp_path, grid=8, num_panoramas=40, ground_size=(2, 4), aerial_size=(2, 2))
    split = load_split("vigor-same", "test", tmp_path)
    draw = np.random.default_rng(0)
    reference = draw.normal(size=(len(split.references), 8))
    reference /= np.linalg.norm(reference, axis=1, keepdims=True)
    shown = np.stack([split.truth.positives[q][0] for q in range(len(split.queries))])
    semi = np.stack([split.truth.ignored[q] for q in range(len(split.queries))])
    # near its tile, and half of the queries near a semi-positive, so that the two metrics differ
    query = reference[shown] + np.where(draw.random((len(shown), 1)) < 0.5, 1.2 * reference[semi[:, 0]], 0)
    query = query + draw.normal(scale=0.25, size=query.shape)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    ours = recall(query, reference, split.truth, percent_rounding=split.percent_rounding)
    names = ("recall_at_1", "recall_at_5", "recall_at_10", "recall_at_1_percent", "hit_rate")
    theirs = brute_force(tmp_path, list(CITIES), query, reference)
    assert [ours[name] for name in names] == pytest.approx(theirs.tolist(), abs=1e-12)
    assert ours["k_at_1_percent"] == 3 and theirs[0] < theirs[4] < 1
    assert len(set(theirs.round(6))) == 5, "all five numbers differ, so that none can stand for another"


def write_lists(root, tiles_a_city, panoramas_a_city):
    """Lists alone, of the real form; images are not asked for."""
    for number, city in enumerate(CITIES):
        latitude, longitude = CITIES[city]
        side = int(tiles_a_city**0.5)
        tiles = [
            f"satellite_{latitude + 3e-4 * (i // side):.12f}_{longitude + 4e-4 * (i % side):.12f}.png"
            for i in range(side * side)
        ]
        lines = []
        for i in range(panoramas_a_city):
            row, column = i % (side - 1), i // 2 % (side - 1)
            name = f"{number}{i:021d},{latitude + 3e-4 * row:.6f},{longitude + 4e-4 * column:.6f},.jpg"
            corner = row * side + column
            four = [tiles[j] for j in (corner, corner + 1, corner + side, corner + side + 1)]
            lines.append(label_line(name, four, np.zeros((4, 2))))
        for folder, content in (("splits", lines), ("panorama", None), ("satellite", None)):
            path = root / (f"splits/{city}" if content else f"{city}/{folder}")
            path.mkdir(parents=True)
        (root / f"splits/{city}/satellite_list.txt").write_text("\n".join(tiles))
        (root / f"splits/{city}/same_area_balanced_test.txt").write_text("\n".join(lines))


@pytest.mark.slow
def test_lists_of_a_real_size_are_read_within_bounds(tmp_path, monkeypatch):
    """A fifth of the real size: 10,520 queries and 18,225 tiles may take a fifth of 500 MB."""
    write_lists(tmp_path, 4_624, 2_630)
    monkeypatch.setattr(DirectoryCache, "locate", lambda self, path: path)
    tracemalloc.start()
    split = load_split("vigor-same", "test", tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(split.queries), len(split.references)) == (10_520, 4 * 68**2)
    assert peak < 100e6


def test_the_released_numbers_add_up():
    sums = [sum(counts) for counts in zip(*RELEASED.values())]
    assert sums == [90_618, 105_214, 52_609, 52_605]
    for city in RELEASED.values():
        assert city.pano_label_balanced == city.same_area_balanced_train + city.same_area_balanced_test
    released = [(facts_of(name).pairs, facts_of(name).gallery) for name in ("vigor-cross", "vigor-cross-reverse")]
    assert released == [((51_520, 53_694), 46_563), ((53_694, 51_520), 44_055)]
