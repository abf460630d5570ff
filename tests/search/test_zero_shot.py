"""A search without training: tiles under layouts and at scales, and ranks against naive loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from geodtr_plugin.augmentations import LayoutSimulation
from geodtr_plugin.datasets import Split
from geodtr_plugin.datasets.images import ImageArray
from geodtr_plugin.evaluation.truth import Truth
from geodtr_plugin.search.zero_shot import LAYOUTS, find_pairs, inner_part, under_layouts
from geodtr_plugin.search.zero_shot_scores import chance_scores, normalised_ranks, scores_of
from geodtr_plugin.utils.errors import UserError

QUERIES, TILES, SIDE = 5, 7, 24


class Means:
    """An embedder that compares colours of a 3 x 3 grid, so that layouts matter, and notes the sizes of its batches."""

    def __init__(self):
        self.batches = []

    def on_load(self, image, role):
        return image

    def embed(self, images, role):
        self.batches.append(len(images))
        grids = torch.stack([adaptive_avg_pool2d(image.float(), 3).flatten() for image in images])
        grids = grids - grids.mean(1, keepdim=True)
        return torch.nn.functional.normalize(grids).numpy()


class Constant(Means):
    def embed(self, images, role):
        return np.full((len(images), 4), 0.5, np.float32)


@pytest.fixture
def split():
    """Queries that are noisy copies of tiles, two with two right tiles, one with none."""
    draw = np.random.default_rng(0)
    tiles = draw.integers(0, 256, (TILES, 3, 3, 3)).repeat(SIDE // 3, 1).repeat(SIDE // 3, 2)
    queries = np.clip(tiles[:QUERIES] + draw.normal(0, 60, (QUERIES, SIDE, SIDE, 3)), 0, 255)
    queries[3] = tiles[6]
    truth = Truth.from_lists([[0], [1, 5], [2], [3], []])
    return Split(
        "own", "test", ImageArray(queries.astype(np.uint8)), ImageArray(tiles.astype(np.uint8)),
        np.array([[0, 0], [1, 1], [1, 5], [2, 2], [3, 3]]), np.array([0, 1, 2, 3, 99]),
        np.array([0, 1, 2, 3, 4, 1, 6]), truth,
    )  # fmt: skip


def test_tiles_under_layouts_are_those_of_layout_simulation():
    tile = torch.randint(0, 256, (3, 10, 10), dtype=torch.uint8)
    ground = torch.zeros(1, 3, 4, 8)
    views = under_layouts(tile)
    assert torch.equal(views[0], tile) and len({view.numpy().tobytes() for view in views}) == 8
    for layout, view in zip(LAYOUTS.tolist(), views):
        assert torch.equal(view, LayoutSimulation()(ground, tile[None], [layout])[1][0])
        flipped = tile.flip(-1) if layout >= 4 else tile
        assert torch.equal(view, flipped.rot90(-(layout % 4), (-2, -1)))  # clockwise, after an east-west mirror


@pytest.mark.parametrize("side", [24, 25])
@pytest.mark.parametrize("scale", [1.0, 0.8, 0.65, 0.5, 0.34])
def test_the_inner_part_has_the_same_centre(side, scale):
    tile = torch.arange(3 * side * side).view(3, side, side)
    part = inner_part(tile, scale)
    edge = (side - part.shape[-1]) // 2
    assert part.shape[-1] == part.shape[-2] and abs(part.shape[-1] - scale * side) <= 1
    assert side - part.shape[-1] == 2 * edge and torch.equal(part, tile[:, edge : side - edge, edge : side - edge])
    for layout, view in enumerate(under_layouts(tile)):  # cropping and turning commute
        assert torch.equal(inner_part(view, scale), under_layouts(part)[layout])


@pytest.mark.parametrize(
    ("shape", "scale", "what"),
    [((3, 20, 20), 1.2, "scale is 1.2"), ((3, 20, 20), 0.0, "scale is 0"), ((3, 20, 20), float("nan"), "scale is nan"),
     ((3, 20, 24), 0.5, "no square"), ((3, 20, 20), 0.2, "too small")],
)  # fmt: skip
def test_parts_that_are_none_are_refused(shape, scale, what):
    with pytest.raises(UserError, match=what):
        inner_part(torch.zeros(shape), scale)


def naive(split, scale):
    """Ranks among tiles and among all layouts, and of the own eight, one query and one tile at a time."""
    embedder = Means()
    views = {
        (tile, layout): embedder.embed([view], "reference")[0].astype(np.float64)
        for tile in range(TILES)
        for layout, view in enumerate(under_layouts(inner_part(split.references.read(tile), scale)))
    }
    ranks, turned, own = [], [], []
    for row in range(QUERIES):
        query = embedder.embed([split.queries.read(row)], "query")[0].astype(np.float64)
        similarity = {key: float(query @ vector) for key, vector in views.items()}
        right = split.truth.positives[row].tolist()
        if not right:
            ranks, turned, own = [*ranks, TILES], [*turned, 8 * TILES], [*own, False]
            continue
        best = max(similarity[tile, 0] for tile in right)
        wrong = [key for key in similarity if key[1] or key[0] not in right]
        ranks.append(sum(similarity[key] >= best - 1e-12 for key in wrong if key[1] == 0))
        turned.append(sum(similarity[key] >= best - 1e-12 for key in wrong))
        own.append(all(similarity[right[0], layout] < similarity[right[0], 0] - 1e-12 for layout in range(1, 8)))
    return ranks, turned, own


@pytest.mark.parametrize("batch_size", [1, 16, 64])
def test_ranks_are_those_of_naive_loops_at_every_scale_whatever_the_batches(split, batch_size):
    embedder = Means()
    scales = [1.0, 0.65, 0.5]
    outcomes = find_pairs(embedder, split, scales, batch_size)
    assert max(embedder.batches) <= max(8, batch_size)
    for scale, outcome in zip(scales, outcomes, strict=True):
        ranks, turned, own = naive(split, scale)
        assert outcome.scale == scale and outcome.ranks.num_references * 8 == outcome.turned.num_references
        assert outcome.ranks.plain.tolist() == ranks and outcome.turned.plain.tolist() == turned
        assert outcome.own.tolist() == own
    assert outcomes[0].own.any() and outcomes[0].ranks.plain[3] > 0  # both kinds are there
    assert outcomes[0].top[:, 0].tolist()[3] == 6


def test_a_model_that_embeds_everything_alike_finds_nothing(split):
    (outcome,) = find_pairs(Constant(), split, [1.0])
    assert outcome.ranks.plain.tolist() == [6, 5, 6, 6, 7] and not outcome.own.any()
    assert outcome.turned.plain.tolist() == [55, 54, 55, 55, 56]


def test_scores_are_those_of_the_ranks(split):
    (outcome,) = find_pairs(Means(), split, [1.0])
    scores = scores_of(outcome.turned)
    plain = outcome.turned.plain
    assert scores["recall_at_5"] == 100 * np.mean(plain < 5)
    assert normalised_ranks(outcome.turned).tolist() == [min(rank / 55, 1) for rank in plain]
    assert scores["mean_normalised_rank"] == pytest.approx(np.mean([min(rank / 55, 1) for rank in plain]))
    for name in ("recall_at_1", "recall_at_5", "recall_at_10", "median_normalised_rank", "mean_normalised_rank"):
        low, high = scores[f"{name}_interval"]
        assert low <= scores[name] <= high
    assert scores == scores_of(outcome.turned)


@pytest.mark.parametrize("size", [2, 11, 30])
def test_chance_of_one_right_tile_is_its_share_and_the_middle(size):
    chance = chance_scores(np.ones(4, int), size)
    assert [chance[f"recall_at_{k}"] for k in (1, 5, 10)] == pytest.approx([100 * min(k / size, 1) for k in (1, 5, 10)])
    assert chance["mean_normalised_rank"] == pytest.approx(0.5) == chance["median_normalised_rank"]
