"""CHSG: labels, layouts and colours of every variant, and its three places of use."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.trainers import MetricLossOnly, TwoStreamMetricLoss
from torch import nn

from geodtr_plugin.augmentations import (
    LayoutSimulation,
    SemanticAugmentation,
    compose_layouts,
    inverse_layout,
    turn_panoramas,
    turn_tiles,
)
from geodtr_plugin.miners import CHSG, CHSG_VARIANTS
from geodtr_plugin.utils.errors import UserError

# every place's images are distinct from their own seven turns and flips
GROUND = torch.arange(8 * 5 * 4).view(8, 1, 5, 4).expand(-1, 3, -1, -1).to(torch.uint8)
AERIAL = torch.arange(8 * 25).view(8, 1, 5, 5).expand(-1, 3, -1, -1).to(torch.uint8)


def batch(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.arange(n) % 8
    return GROUND[rows], AERIAL[rows]


def layouts_found(turned: torch.Tensor, images: torch.Tensor, turn) -> list[int]:
    """The layout of every row, recognised by its pixels."""
    tried = [turn(images, torch.full((len(images),), code)) for code in range(8)]
    return [next(code for code in range(8) if torch.equal(tried[code][i], turned[i])) for i in range(len(images))]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2**60), min_size=1, max_size=20), st.integers(0, 999))
def test_twins_share_a_place_and_never_a_layout(places, seed):
    n, places = len(places), torch.tensor(places)
    images = batch(n)
    ground, aerial, labels = CHSG(generator=torch.Generator().manual_seed(seed))(*images, places)
    assert labels.dtype == torch.int64 and torch.equal(labels // 2, places.repeat(2))
    assert torch.equal(labels[:n] ^ 1, labels[n:]) and torch.equal(labels[:n] % 2, torch.zeros(n, dtype=torch.int64))
    by_ground = [layouts_found(rows, images[0], turn_panoramas) for rows in ground.split(n)]
    by_aerial = [layouts_found(rows, images[1], turn_tiles) for rows in aerial.split(n)]
    assert by_ground == by_aerial
    assert all(first != twin for first, twin in zip(*by_ground))


@pytest.mark.slow
def test_layouts_are_uniform_and_so_is_the_turn_between_twins():
    chsg = CHSG(generator=torch.Generator().manual_seed(0))
    images = batch(7000)
    first, twin = (torch.tensor(layouts_found(rows, images[1], turn_tiles)) for rows in chsg(*images)[1].split(7000))
    turn = compose_layouts(inverse_layout(first), twin)
    assert (first.bincount(minlength=8) - 875).abs().max() < 120
    counts = turn.bincount(minlength=8)
    assert counts[0] == 0 and (counts[1:] - 1000).abs().max() < 120


def test_a_weak_layout_mirrors_the_first_sample_and_turns_the_twin_freely():
    images = batch(800)
    chsg = CHSG(LayoutSimulation(strength="weak", generator=torch.Generator().manual_seed(0)))
    first, twin = (set(layouts_found(rows, images[1], turn_tiles)) for rows in chsg(*images)[1].split(800))
    assert first == {0, 4} and twin == set(range(8))


# name in the paper, doubles, layouts differ between twins, layouts are drawn, colours change, twins share colours
PAPER = [
    ("Raw", "raw", False, None, False, False, None),
    ("LS", "ls", False, None, True, True, None),
    ("S only", "s", True, False, False, True, False),
    ("S + same L", "s+same-l", True, False, True, True, False),
    ("L only", "l", True, True, True, False, True),
    ("same S + L", "same-s+l", True, True, True, True, True),
    ("L + S", "l+s", True, True, True, True, False),
]


@pytest.mark.parametrize("paper, name, doubles, differ, drawn, colours, same_colours", PAPER)
def test_the_variants_of_the_paper(paper, name, doubles, differ, drawn, colours, same_colours):
    n = 40
    images = tuple(pixels / 255 for pixels in batch(n))
    seen = []  # what layouts were applied to, and the layouts
    torch.manual_seed(0)
    chsg = CHSG.variant(paper)
    chsg.layout.register_forward_pre_hook(lambda module, arguments: seen.append(arguments))
    ground, aerial, labels = chsg(*images)
    assert chsg.name == name and chsg.multiplier == len(labels) / n == (2 if doubles else 1)
    assert len(ground) == len(aerial) == len(labels)
    if not doubles:
        assert torch.equal(labels, torch.arange(n))

    assert bool(seen) == drawn
    coloured = seen[0][:2] if drawn else (ground, aerial)
    if drawn:
        assert seen[0][2].unique().numel() == 8
    if drawn and doubles:
        first, twin = seen[0][2].split(n)
        assert (first != twin).all() if differ else torch.equal(first, twin)
    for before, after in zip(images, coloured):
        assert torch.equal(after[:n], before) != colours
        if doubles:
            assert torch.equal(after[:n], after[n:]) == same_colours


def test_every_variant_of_the_paper_has_a_name():
    assert tuple(row[1] for row in PAPER) == CHSG_VARIANTS
    for name in CHSG_VARIANTS:
        assert CHSG.variant(name.upper()).name == name


def test_colours_of_ground_and_aerial_are_drawn_apart():
    gray = torch.full((6, 3, 8, 8), 0.4)
    ground, aerial, _ = CHSG(LayoutSimulation(strength="none"), SemanticAugmentation(), variant="s")(gray, gray)
    assert (ground - aerial).flatten(1).abs().amax(1).min() > 1e-4


def test_defaults_are_the_method_or_its_layouts_alone():
    assert CHSG().name == "l" and CHSG(semantic=SemanticAugmentation()).name == "l+s"
    assert CHSG().layout.strength == "strong" and not CHSG().polar and CHSG.variant("l+s", polar=True).polar
    ground, aerial, labels = CHSG()(GROUND, AERIAL)
    assert ground.dtype == aerial.dtype == torch.uint8 and labels.tolist() == [*range(0, 16, 2), *range(1, 16, 2)]


def test_polar_aerials_move_as_panoramas():
    ground, aerial, _ = CHSG.variant("l", polar=True)(GROUND, GROUND)
    assert torch.equal(ground, aerial)


def test_one_seed_one_batch():
    images = tuple(pixels / 255 for pixels in batch(8))
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        own = CHSG.variant("l+s", generator=torch.Generator().manual_seed(4))
        runs.append([*CHSG.variant("l+s")(*images), *own(*images)])
    assert all(torch.equal(a, b) for a, b in zip(*runs))


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ((GROUND, AERIAL, torch.arange(8.0)), TypeError, "whole numbers"),
        ((GROUND, AERIAL, torch.arange(7)), ValueError, r"8, 8 and \[7\]"),
        ((GROUND, AERIAL[:5]), ValueError, r"8, 5 and \[8\]"),
        ((GROUND, GROUND), ValueError, "square"),
    ],
)
def test_refuses_batches_that_do_not_fit(arguments, error, words):
    with pytest.raises(error, match=words):
        CHSG()(*arguments)


def test_refuses_what_it_cannot_build():
    with pytest.raises(UserError, match="Did you mean 'same-s\\+l'"):
        CHSG.variant("same s-l")
    with pytest.raises(ValueError, match="SemanticAugmentation"):
        CHSG(variant="l+s")
    with pytest.raises(TypeError, match="divide by 255"):
        CHSG.variant("l+s")(GROUND, AERIAL)


class Trunk(nn.Module):
    """Embeds images of any size; made of one layer, so that a few steps change it visibly."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())

    def forward(self, images):
        return self.layers(images)


class Places(torch.utils.data.Dataset):
    """Items (ground, aerial, place), uint8 as they are stored."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return GROUND[i].repeat(1, 2, 2)[:, :8, :8], AERIAL[i].repeat(1, 2, 2)[:, :8, :8], 100 + i


@pytest.mark.parametrize("trainer, two_streams", [(TwoStreamMetricLoss, True), (MetricLossOnly, False)])
def test_trains_in_stock_pml_trainers(trainer, two_streams):
    torch.manual_seed(0)
    trunk, seen = Trunk(), []
    before = [p.detach().clone() for p in trunk.parameters()]

    class Loss(TripletMarginLoss):
        def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
            seen.append((embeddings.shape[0], labels, indices_tuple))
            return super().compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)

    trainer(
        models={"trunk": trunk},
        optimizers={"trunk_optimizer": torch.optim.SGD(trunk.parameters(), lr=0.1)},
        batch_size=4,
        loss_funcs={"metric_loss": Loss()},
        dataset=Places(),
        data_device="cpu",
        dataloader_num_workers=0,
        data_and_label_getter=CHSG.variant("L + S").as_getter(two_streams=two_streams),
    ).train(num_epochs=2)

    assert len(seen) == 4 and any(not torch.equal(a, b) for a, b in zip(before, trunk.parameters()))
    for rows, labels, triplets in seen:
        # 4 pairs, their twins, both views
        assert rows == 16 and len(labels) == 16
        assert set((labels // 2).tolist()) <= set(range(100, 108)) and len(labels.unique()) == 8
        if two_streams:
            anchor, positive, negative = triplets
            assert len(anchor) == 56 and torch.equal(labels[anchor], labels[positive])
            assert (labels[anchor] ^ 1 == labels[negative]).sum() == 8


def test_the_getter_scales_uint8_and_leaves_floats():
    getter = CHSG.variant("l").as_getter(device="cpu")
    torch.manual_seed(0)
    from_bytes = getter([GROUND, AERIAL, torch.arange(8)])
    torch.manual_seed(0)
    from_floats = getter([GROUND / 255, AERIAL / 255, list(range(8))])
    assert from_bytes[0].dtype == torch.float32 and all(torch.equal(a, b) for a, b in zip(from_bytes, from_floats))


def test_three_lines_in_a_plain_loop():
    torch.manual_seed(0)
    trunk, chsg, loss_func = Trunk(), CHSG.variant("L + S"), TripletMarginLoss()
    optimizer = torch.optim.Adam(trunk.parameters(), lr=0.01)
    before = [p.detach().clone() for p in trunk.parameters()]
    for ground, aerial, labels in torch.utils.data.DataLoader(Places(), batch_size=4):
        ground, aerial, labels = chsg(ground / 255, aerial / 255, labels)
        query, reference = trunk(ground), trunk(aerial)
        loss = loss_func(query, labels, ref_emb=reference, ref_labels=labels.clone())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.isfinite() and any(not torch.equal(a, b) for a, b in zip(before, trunk.parameters()))


@pytest.mark.parametrize("variant", CHSG_VARIANTS)
def test_samples_tell_their_layouts_and_turn_one_more_image_likewise(variant):
    images = batch(8)
    ground, aerial = images[0] / 255, images[1] / 255
    draw = torch.Generator()
    chsg = CHSG.variant(variant, generator=draw)
    draw.manual_seed(4)
    alone = chsg(ground, aerial)
    draw.manual_seed(4)
    told = chsg.samples(ground, aerial)
    assert all(torch.equal(one, other) for one, other in zip(alone, told)) and told.more is None
    _, _, labels, layouts, more, _ = chsg.samples(ground, aerial, more=aerial.flip(0))
    assert len(more) == len(labels) == 8 * chsg.multiplier
    if chsg.plan.layout == "none":
        assert layouts is None
    if chsg.plan.colours == "none":
        expected = aerial.flip(0).repeat(chsg.multiplier, 1, 1, 1)
        assert torch.equal(more, expected if layouts is None else turn_tiles(expected, layouts))
    elif variant == "l+s":
        assert not torch.equal(more, turn_tiles(aerial.flip(0).repeat(2, 1, 1, 1), layouts))
