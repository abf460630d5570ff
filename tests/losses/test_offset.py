"""VIGOR's objectives, against the same worked out pair by pair, and under every layout."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin.augmentations import turn_offsets, turn_tiles
from geodtr_plugin.losses import NetworkBatch, OffsetObjective, OverlapObjective
from geodtr_plugin.losses.offset import LEAST_SIMILARITY, overlap
from geodtr_plugin.utils.pair_data import OFFSET, SEMI_POSITIVE_OFFSET
from geodtr_plugin.worlds import make_scene

PIXELS = 640  # along a tile, of the paper's offsets
NONE = torch.empty(0)


def batch(layouts=None, **data):
    return NetworkBatch(NONE, NONE, NONE, [], layouts, data)


def iou(d0, d1):
    """Of two squares of PIXELS that lie d0 and d1 pixels apart, by counting."""
    shared = (PIXELS - abs(d0)) * (PIXELS - abs(d1))
    return shared / (2 * PIXELS**2 - shared)


@pytest.mark.parametrize("pixels, value", [((160, 160), 0.3913), ((320, 320), 0.1429), ((0, 0), 1.0), ((-640, 3), 0)])
def test_overlap_of_two_tiles(pixels, value):
    assert overlap(torch.tensor([pixels]) / PIXELS).item() == pytest.approx(value, abs=5e-5)
    assert iou(*pixels) == pytest.approx(value, abs=5e-5)


def draw(seed, rows=6):
    """Unit vectors of queries, references and semi-positives, and offsets of both in pixels (down, left)."""
    random = np.random.default_rng(seed)
    vectors = [random.standard_normal((rows, 8)) for _ in range(3)]
    vectors[1], vectors[2] = vectors[0] + 0.3 * vectors[1], vectors[0] + 0.6 * vectors[2]
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    return units, random.uniform(-160, 160, (rows, 2)), random.uniform(-320, 320, (rows, 2))


def as_shares(pixels):
    """Of (down, left) in pixels: (down, right) in parts of the side."""
    return torch.tensor(pixels / [PIXELS, -PIXELS], dtype=torch.float32)


@pytest.mark.parametrize("seed", range(3))
def test_the_overlap_objective_equals_the_paper_pair_by_pair(seed):
    (query, near, far), right, other = draw(seed)
    expected = 0.0
    for q, n, f, d, e in zip(query, near, far, right, other):
        expected += ((f @ q) / (n @ q) - iou(*e) / iou(*d)) ** 2 / 10 / len(query)
    query, near, far = (torch.tensor(v, dtype=torch.float32) for v in (query, near, far))
    found = OverlapObjective()(
        batch(**{OFFSET: as_shares(right), SEMI_POSITIVE_OFFSET: as_shares(other)}),
        SimpleNamespace(query=query, reference=near, semi_positive=far),
    )
    assert found.item() == pytest.approx(expected, abs=1e-5) and expected > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_the_offset_objective_equals_the_paper_pair_by_pair(seed):
    _, right, _ = draw(seed)
    heads = np.random.default_rng(seed).standard_normal((6, 2))  # as the authors' head: (d0, d1) / 320
    expected = np.mean([np.sum((head - d / 320) ** 2) for head, d in zip(heads, right)]) / 100
    ours = torch.tensor(heads, dtype=torch.float32) * torch.tensor([0.5, -0.5])
    found = OffsetObjective()(batch(**{OFFSET: as_shares(right)}), SimpleNamespace(extras={OFFSET: ours}))
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_offsets_turn_as_a_marked_pixel_does():
    layouts = torch.arange(8)
    for down, right in ((2, 3), (-4, 1), (0, -2)):
        tile = torch.zeros(8, 1, 9, 9)
        tile[:, :, 4 + down, 4 + right] = 1
        at = turn_tiles(tile, layouts).flatten(1).argmax(dim=1)
        expected = torch.stack([at // 9 - 4, at % 9 - 4], dim=1)
        assert torch.equal(turn_offsets(torch.tensor([[down, right]] * 8), layouts), expected)


def test_offsets_turn_as_the_world_does():
    scene = make_scene("suburb", seed=3, cameras=2)

    def offset(scene):
        (east, north), (other_east, other_north) = map(scene.position, scene.cameras)
        return [other_north - north, east - other_east]  # down, right

    for layout in range(8):
        turned = offset(scene.turned(turns=layout % 4, flip=layout >= 4))
        found = turn_offsets(torch.tensor([offset(scene)]), torch.tensor([layout]))[0]
        assert found.tolist() == pytest.approx(turned, abs=1e-3), layout


def test_layouts_reach_the_offset_objective():
    true, layouts = torch.tensor([[0.1, 0.2], [-0.2, 0.05]]), torch.tensor([1, 6])
    objective, seen = OffsetObjective(), SimpleNamespace(extras={OFFSET: turn_offsets(true, layouts)})
    assert objective(batch(layouts, **{OFFSET: true}), seen).item() == pytest.approx(0, abs=1e-9)
    assert objective(batch(**{OFFSET: true}), seen).item() > 1e-4


def test_rows_whose_offsets_are_unknown_count_as_nothing_and_have_no_gradient():
    true = torch.tensor([[0.1, 0.2], [torch.nan, torch.nan]])
    said = torch.zeros(2, 2, requires_grad=True)
    loss = OffsetObjective()(batch(**{OFFSET: true}), SimpleNamespace(extras={OFFSET: said}))
    loss.backward()
    assert loss.item() == pytest.approx(0.01 * (0.2**2 + 0.4**2) / 2) and not said.grad[1].any()
    q = F.normalize(torch.randn(2, 4), dim=1).requires_grad_()
    others = SimpleNamespace(query=q, reference=q.detach().flip(1), semi_positive=q.detach().roll(1, 1))
    loss = OverlapObjective()(batch(**{OFFSET: true, SEMI_POSITIVE_OFFSET: torch.zeros(2, 2)}), others)
    loss.backward()
    assert q.grad.isfinite().all() and q.grad[0].any() and not q.grad[1].any()


@pytest.mark.parametrize("similarity", [0.0, 1e-9, -1e-9])
def test_similarities_near_zero_are_not_divided_by(similarity):
    query = torch.tensor([[1.0, 0.0]], requires_grad=True)
    near = torch.tensor([[similarity, 1.0]])
    zeros = {OFFSET: torch.zeros(1, 2), SEMI_POSITIVE_OFFSET: torch.zeros(1, 2)}
    both = SimpleNamespace(query=query, reference=near, semi_positive=torch.tensor([[1.0, 0.0]]))
    loss = OverlapObjective()(batch(**zeros), both)
    loss.backward()
    assert loss.item() <= 0.1 * (1 / LEAST_SIMILARITY + 1) ** 2 + 1 and query.grad.isfinite().all()


def test_a_semi_positive_that_is_the_positive_itself_costs_nothing():
    (query, near, _), right, _ = draw(0)
    query, near = (torch.tensor(v, dtype=torch.float32) for v in (query, near))
    data = {OFFSET: as_shares(right), SEMI_POSITIVE_OFFSET: as_shares(right)}
    same = SimpleNamespace(query=query, reference=near, semi_positive=near)
    assert OverlapObjective()(batch(**data), same).item() == pytest.approx(0, abs=1e-9)
