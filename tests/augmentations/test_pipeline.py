"""Batches on their way to the network: view, augmentation, normalisation, in this order."""

from __future__ import annotations

import pytest
import torch

from geodtr_plugin.augmentations import IMAGENET_MEAN, IMAGENET_STD, BatchTransform, ImageTransform, RoleTransform
from geodtr_plugin.miners import CHSG

GENERATOR = torch.Generator().manual_seed(0)
QUERY = torch.randint(0, 256, (5, 3, 20, 64), dtype=torch.uint8, generator=GENERATOR)
REFERENCE = torch.randint(0, 256, (5, 3, 48, 48), dtype=torch.uint8, generator=GENERATOR)
LABELS = torch.tensor([3, 1, 4, 1 << 40, 5])
QUERY_VIEW, SQUARE_VIEW, POLAR_VIEW = ImageTransform(20, 64), ImageTransform(32, 32), ImageTransform(10, 40, polar=True)


def normalised(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (images - mean) / std


@pytest.mark.parametrize("view", [SQUARE_VIEW, POLAR_VIEW])
def test_a_role_is_viewed_then_normalised(view):
    images = REFERENCE.clone()
    torch.testing.assert_close(RoleTransform(view)(images), normalised(view.on_device(REFERENCE)))
    assert torch.equal(images, REFERENCE)


@pytest.mark.parametrize("augment", [None, CHSG.variant("raw"), CHSG.variant("l+s")])
def test_float_input_is_left_alone(augment):
    query, reference = QUERY / 255, SQUARE_VIEW.on_device(REFERENCE)
    before = query.clone(), reference.clone()
    RoleTransform(QUERY_VIEW)(query)
    BatchTransform(QUERY_VIEW, SQUARE_VIEW, augment)(query, reference, LABELS)
    assert torch.equal(query, before[0]) and torch.equal(reference, before[1])


def test_other_statistics():
    half = (0.5, 0.5, 0.5)
    torch.testing.assert_close(RoleTransform(QUERY_VIEW, half, half)(QUERY), QUERY / 127.5 - 1)


def test_without_augmentation_both_roles_are_as_in_evaluation():
    query, reference, labels = BatchTransform(QUERY_VIEW, SQUARE_VIEW)(QUERY, REFERENCE, LABELS)
    assert torch.equal(query, RoleTransform(QUERY_VIEW)(QUERY))
    assert torch.equal(reference, RoleTransform(SQUARE_VIEW)(REFERENCE))
    assert torch.equal(labels, LABELS)


def test_chsg_doubles_the_batch_before_normalisation():
    chsg = CHSG.variant("l+s")
    transform = BatchTransform(QUERY_VIEW, SQUARE_VIEW, chsg)
    torch.manual_seed(1)
    query, reference, labels = transform(QUERY, REFERENCE, LABELS)
    torch.manual_seed(1)
    expected = chsg(QUERY_VIEW.on_device(QUERY), SQUARE_VIEW.on_device(REFERENCE), LABELS)
    assert transform.multiplier == 2 and torch.equal(labels, expected[2])
    torch.testing.assert_close(query, normalised(expected[0]))
    torch.testing.assert_close(reference, normalised(expected[1]))


@pytest.mark.parametrize("view, polar", [(SQUARE_VIEW, True), (POLAR_VIEW, False)])
def test_refuses_an_augmentation_for_the_other_kind_of_aerial_image(view, polar):
    with pytest.raises(ValueError, match=f"LayoutSimulation with polar={view.polar}"):
        BatchTransform(QUERY_VIEW, view, CHSG.variant("l", polar))


def test_nothing_of_it_is_saved_with_a_model_or_needs_a_gradient():
    transform = BatchTransform(QUERY_VIEW, SQUARE_VIEW, CHSG.variant("l+s"))
    assert not transform.state_dict() and not list(transform.parameters())
    assert not transform((QUERY / 255).requires_grad_(), REFERENCE, LABELS)[0].requires_grad


@pytest.mark.parametrize("augment", [None, CHSG.variant("l"), CHSG.variant("l+s")])
def test_samples_are_those_of_the_call_with_their_layouts(augment):
    transform = BatchTransform(QUERY_VIEW, SQUARE_VIEW, augment)
    torch.manual_seed(1)
    called = transform(QUERY, REFERENCE, LABELS)
    torch.manual_seed(1)
    told = transform.samples(QUERY, REFERENCE, LABELS)
    assert all(torch.equal(one, other) for one, other in zip(called, told)) and told.more is None
    torch.manual_seed(1)
    both = transform.samples(QUERY, REFERENCE, LABELS, REFERENCE)
    assert both.more.shape == both.aerial.shape and (both.layouts is None) == (augment is None)
    if augment is None or augment.name == "l":
        assert torch.equal(both.more, both.aerial)


def test_an_augmentation_that_tells_no_layouts_is_refused_where_they_are_asked_for():
    transform = BatchTransform(QUERY_VIEW, SQUARE_VIEW, lambda *images: images)
    transform(QUERY, REFERENCE, LABELS)
    with pytest.raises(TypeError, match="does not tell its layouts"):
        transform.samples(QUERY, REFERENCE, LABELS)
