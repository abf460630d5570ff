"""Semantic augmentation: each operation equals torchvision's on PIL images; draws are independent and seeded."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as tv

from geodtr_plugin.augmentations import SemanticAugmentation, colours
from geodtr_plugin.augmentations.semantic import ORDERS, Draws
from geodtr_plugin.utils.errors import UserError

# smooth colours with hard edges, so that clipping, bit depth and blur all have something to act on
PIXELS = (torch.rand(3, 45, 67, generator=torch.Generator().manual_seed(0)) * 255).byte()
PIXELS[:, 10:30, 20:50] = torch.tensor([250, 20, 128], dtype=torch.uint8)[:, None, None]
PICTURE = Image.fromarray(PIXELS.permute(1, 2, 0).numpy())
IMAGE = PIXELS[None] / 255


def assert_as_torchvision(ours: torch.Tensor, theirs: Image.Image, levels: float = 1.1) -> None:
    assert ours.dtype == torch.float32
    assert (ours[0] * 255 - tv.pil_to_tensor(theirs)).abs().max() <= levels


def batch(n: int, seed: int = 0, height: int = 24, width: int = 40) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def plain(n: int, **changes) -> Draws:
    """Draws that change nothing but what is given (and blur by a hair)."""
    nothing = {
        "order": torch.zeros(n, dtype=torch.long),
        "factors": torch.ones(n, 3),
        "gray": torch.zeros(n, dtype=torch.bool),
        "posterize": torch.zeros(n, dtype=torch.bool),
        "sigma": torch.full((n,), 0.1),
    }
    return Draws(**(nothing | changes))


@pytest.mark.parametrize("factor", [0.7, 0.93, 1.0, 1.3])
@pytest.mark.parametrize("column, adjust", enumerate([tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation]))
def test_jitter_equals_torchvision(column, adjust, factor):
    factors = torch.ones(1, 3)
    factors[0, column] = factor
    assert_as_torchvision(colours.jitter(IMAGE, factors, (column,)), adjust(PICTURE, factor))


def test_grayscale_equals_torchvision():
    assert_as_torchvision(colours.to_gray(IMAGE), tv.to_grayscale(PICTURE, 3))


def test_posterize_equals_torchvision():
    assert_as_torchvision(colours.posterize(IMAGE), tv.posterize(PICTURE, 4), levels=1e-3)


@pytest.mark.parametrize("sigma", [0.1, 0.8, 5.0])
def test_blur_equals_torchvision_and_is_vertical(sigma):
    blurred = colours.blur(IMAGE, torch.tensor([sigma]))
    assert_as_torchvision(blurred, tv.gaussian_blur(PICTURE, [1, 5], [sigma, sigma]))
    stripes = IMAGE[:, :, :1].expand(-1, -1, 45, -1)
    torch.testing.assert_close(colours.blur(stripes.contiguous(), torch.tensor([sigma])), stripes)


@pytest.mark.parametrize("number, order", enumerate(ORDERS))
def test_the_whole_chain_in_every_order(number, order):
    """Against torchvision on float tensors, which round nothing between the operations either."""
    factors = torch.tensor([[1.3, 0.7, 1.25]])
    adjust = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation)
    expected = IMAGE
    for operation in order:
        expected = adjust[operation](expected, factors[0, operation].item())
    expected = tv.gaussian_blur(tv.rgb_to_grayscale(expected, 3), [1, 5], [1.5, 1.5])
    gray, sigma = torch.tensor([True]), torch.tensor([1.5])
    draws = plain(1, order=torch.tensor([number]), factors=factors, gray=gray, sigma=sigma)
    # torchvision's luma weights have four digits
    torch.testing.assert_close(SemanticAugmentation().apply_draws(IMAGE, draws), expected, atol=4e-4, rtol=0)


def test_a_batch_is_its_images_one_by_one():
    augmentation = SemanticAugmentation(generator=torch.Generator().manual_seed(1))
    images, draws = batch(20), augmentation.draw(20)
    assert draws.order.unique().numel() > 3 and draws.gray.any() and draws.posterize.any()
    own_draws = [Draws(*(numbers[i : i + 1] for numbers in draws)) for i in range(20)]
    one_by_one = [augmentation.apply_draws(images[i : i + 1], own) for i, own in enumerate(own_draws)]
    torch.testing.assert_close(augmentation.apply_draws(images, draws), torch.cat(one_by_one))


@pytest.mark.parametrize("strength", ["strong", "weak"])
def test_a_gpu_does_the_same_as_a_cpu(strength):
    augmentation = SemanticAugmentation(strength, torch.Generator().manual_seed(1))
    images, draws = (batch(3) * 255).round() / 255, augmentation.draw(40)
    batched = augmentation._at_once(images, draws)
    # a value between two of the posterized levels may fall to either of them, and be blurred over five rows
    ours, same = augmentation.apply_draws(images, draws), ~draws.posterize
    torch.testing.assert_close(ours[same], batched[same], atol=2e-5, rtol=0)
    assert ((ours - batched).abs() > 1e-4).float().mean() < 0.01


def test_copies_are_first_all_first_ones_then_all_second_ones():
    augmentation = SemanticAugmentation()
    images, draws = batch(5), augmentation.draw(10)
    torch.testing.assert_close(
        augmentation.apply_draws(images, draws), augmentation.apply_draws(torch.cat([images, images]), draws)
    )
    torch.manual_seed(0)
    assert augmentation(images, copies=2).shape == (10, 3, 24, 40)
    assert torch.equal(SemanticAugmentation("none")(images, copies=2), torch.cat([images, images]))


def test_draws_follow_the_recipe():
    draws = SemanticAugmentation(generator=torch.Generator().manual_seed(0)).draw(20000)
    assert draws.factors.min() >= 0.7 and draws.factors.max() <= 1.3
    assert (draws.factors.mean(0) - 1).abs().max() < 0.01
    assert draws.factors.std() == pytest.approx(0.6 / 12**0.5, rel=0.02)
    assert draws.gray.float().mean() == pytest.approx(0.2, abs=0.01)
    assert draws.posterize.float().mean() == pytest.approx(0.2, abs=0.01)
    assert 0.1 <= draws.sigma.min() < 0.11 and 4.99 < draws.sigma.max() <= 5
    assert (draws.order.bincount(minlength=6) / 20000 - 1 / 6).abs().max() < 0.01
    numbers = torch.column_stack([draws.factors, draws.gray, draws.posterize, draws.sigma, draws.order])
    assert (torch.corrcoef(numbers.T) - torch.eye(7)).abs().max() < 0.03


def test_weak_is_a_little_jitter_and_gray():
    augmentation = SemanticAugmentation("weak", torch.Generator().manual_seed(0))
    draws = augmentation.draw(20000)
    assert draws.factors.min() >= 0.9 and draws.factors.max() <= 1.1
    assert draws.gray.float().mean() == pytest.approx(0.1, abs=0.01) and not draws.posterize.any()
    images = batch(3)
    # neither blur nor bit depth: without jitter and gray nothing is left
    assert torch.allclose(augmentation.apply_draws(images, plain(3)), images, atol=1e-6)


def test_none_changes_nothing():
    images = batch(3)
    assert torch.equal(SemanticAugmentation("none")(images), images)


def test_the_input_is_left_alone_and_the_result_stays_in_range():
    images = batch(12)
    before = images.clone()
    result = SemanticAugmentation(generator=torch.Generator().manual_seed(2))(images)
    assert torch.equal(images, before)
    assert result.min() >= 0 and result.max() <= 1 and not torch.allclose(result, before, atol=0.01)


def test_equal_images_are_coloured_differently():
    images = batch(1).expand(6, -1, -1, -1)
    result = SemanticAugmentation(generator=torch.Generator().manual_seed(0))(images)
    assert all((result[i] - result[j]).abs().max() > 0.01 for i in range(6) for j in range(i))


def test_seeded_by_a_generator_or_globally():
    images, runs = batch(6), []
    for _ in range(2):
        torch.manual_seed(5)
        own = SemanticAugmentation(generator=torch.Generator().manual_seed(6))
        runs.append((SemanticAugmentation()(images), own(images), own(images)))
    assert all(torch.equal(a, b) for a, b in zip(*runs))
    assert not torch.equal(runs[0][1], runs[0][2])


def test_autocast_and_half_precision_input_do_not_lower_the_precision():
    images = batch(6, height=20)
    augmentation = SemanticAugmentation()
    draws = augmentation.draw(6)
    expected = augmentation.apply_draws(images, draws)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augmentation.apply_draws(images, draws), expected)
    assert augmentation.apply_draws(images.half(), draws).dtype == torch.float32


@pytest.mark.parametrize(
    "images, error, words",
    [
        (PIXELS[None], TypeError, "divide by 255"),
        (IMAGE * 255, ValueError, "divide by 255"),
        (IMAGE * 2 - 1, ValueError, "normalise afterwards"),
        (IMAGE * float("nan"), ValueError, "nan"),
        (IMAGE[0], ValueError, r"\[B, 3, H, W\]"),
        (IMAGE[:, :1], ValueError, r"\[B, 3, H, W\]"),
    ],
)
def test_refuses_other_images(images, error, words):
    with pytest.raises(error, match=words):
        SemanticAugmentation()(images)


def test_an_unknown_strength_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="none, strong, weak"):
        SemanticAugmentation("medium")
