"""Sample4Geo's augmentation: each operation by itself, the draws by their statistics, and the interface of CHSG."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate
from torchvision.transforms import functional as tv

from geodtr_plugin.augmentations import CutoutAugmentation, LayoutSimulation, cutout
from geodtr_plugin.augmentations.cutout import Draws
from geodtr_plugin.miners import CHSG


def batch(n: int, height: int = 24, width: int = 40) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def smooth(n: int, height: int, width: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(batch(n, 6, 8), (height, width), mode="bicubic").clamp(0, 1)


def seeded(seed: int = 0, **options) -> CutoutAugmentation:
    return CutoutAugmentation(torch.Generator().manual_seed(seed), **options)


def plain(n: int, **changes) -> Draws:
    """Draws that change nothing but what is given."""
    nothing = seeded().draw(n)._replace(
        quality=torch.zeros(n),
        order=torch.full((n, 4), -1),
        filtered=torch.zeros(n, dtype=torch.bool),
        grid=torch.zeros(n, dtype=torch.bool),
        number=torch.zeros(n, dtype=torch.long),
    )
    return nothing._replace(**changes)


def test_draws_follow_the_recipe():
    n = 20000
    draws = seeded().draw(n)
    share = lambda chosen: chosen.float().mean().item()  # noqa: E731
    assert share(draws.quality > 0) == pytest.approx(0.5, abs=0.01)
    assert draws.quality[draws.quality > 0].unique().tolist() == list(range(90, 101))
    assert share(draws.order[:, 0] >= 0) == pytest.approx(0.5, abs=0.01)
    assert draws.order.unique(dim=0).tolist()[0] == [-1] * 4 and len(draws.order.unique(dim=0)) == 1 + 24
    low, high = draws.factors.min(0).values, draws.factors.max(0).values
    bounds = torch.tensor([0.85, 0.85, 0.85, -0.15 * 2 * torch.pi])
    torch.testing.assert_close(low, bounds, atol=1e-3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([1.15, 1.15, 1.15, 0.15 * 2 * torch.pi]), atol=1e-3, rtol=0)
    assert share(draws.filtered) == pytest.approx(0.3, abs=0.01)
    blurred = draws.kernels.flatten(1).min(1).values >= 0
    assert share(blurred & draws.filtered) == pytest.approx(0.15, abs=0.01)
    assert share(draws.grid) == pytest.approx(0.15, abs=0.01)
    assert share(draws.number > 0) == pytest.approx(0.15, abs=0.01) and not (draws.grid & (draws.number > 0)).any()
    assert draws.number[draws.number > 0].unique().tolist() == list(range(10, 26))


def test_nothing_drawn_changes_nothing():
    images = batch(3)
    assert torch.equal(CutoutAugmentation().apply_draws(images, plain(3)), images)


@pytest.mark.parametrize("quality", [90, 95, 100])
def test_compression_is_that_of_a_jpeg_file(quality):
    image = (smooth(1, 40, 56) * 255).round() / 255
    file = io.BytesIO()
    tv.to_pil_image(image[0]).save(file, "JPEG", quality=quality)
    expected = tv.pil_to_tensor(Image.open(file)) / 255
    ours = cutout.compress(image, torch.tensor([float(quality)]))[0]
    assert (ours - expected).abs().mean() < 1.5 / 255 and (ours - expected).abs().max() < 12 / 255
    assert not torch.equal(ours, image[0])


def test_colours_are_torchvisions_in_every_order():
    images, factors = smooth(1, 24, 32), torch.tensor([[1.15, 0.85, 1.1, 0.12 * 2 * torch.pi]])
    operations = (
        lambda x: tv.adjust_brightness(x, 1.15),
        lambda x: tv.adjust_contrast(x, 0.85),
        lambda x: tv.adjust_saturation(x, 1.1),
        lambda x: tv.adjust_hue(x, 0.12),
    )
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        expected = images
        for operation in order:
            expected = operations[operation](expected)
        ours = CutoutAugmentation().apply_draws(images, plain(1, order=torch.tensor([order]), factors=factors))
        torch.testing.assert_close(ours, expected, atol=2e-3, rtol=0)


def test_blur_kernels_are_gaussians_where_the_exponent_is_one():
    numbers = torch.tensor([[0.3, 0.9, 0.6, 0.9, 0.0, 0.99]])  # the fifth number: exponent 1; the last: seven pixels
    kernel = cutout.blur_kernels(numbers, torch.full((1, 7, 7), 0.5))[0]
    sigma, angle = [0.2 + 0.8 * 0.3, 0.2 + 0.8 * 0.9], np.pi * 0.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag(np.square(sigma)) @ turn.T)
    value = lambda at: np.exp(-0.5 * at @ inverse @ at)  # noqa: E731
    expected = np.array([[value(np.array([x, y])) for x in range(-3, 4)] for y in range(-3, 4)])
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-5)


def test_blur_kernels_have_three_sizes_noise_and_sum_one():
    kernels = cutout.blur_kernels(torch.rand(900, 6), torch.rand(900, 7, 7))
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(900))
    outer, middle = (kernels[:, 0] > 0).any(1), (kernels[:, 1] > 0).any(1)
    assert 0.1 < outer.float().mean() < 0.34 and outer.float().mean() < middle.float().mean() < 0.67
    assert (kernels[:, 3, 2] != kernels[:, 3, 4]).float().mean() > 0.6  # noise, where a kernel is no single pixel


def test_sharpening_mixes_the_image_with_its_edges():
    kernel = cutout.sharpen_kernels(torch.tensor([[0.5, 0.5]]))[0]
    edges = -torch.ones(3, 3)
    edges[1, 1] = 8.75
    same = torch.zeros(3, 3)
    same[1, 1] = 1
    torch.testing.assert_close(kernel[2:5, 2:5], 0.65 * same + 0.35 * edges)
    assert kernel.abs().sum() == pytest.approx(kernel[2:5, 2:5].abs().sum().item())


def test_every_image_has_its_own_kernel():
    images, kernels = batch(3), torch.rand(3, 7, 7) / 40
    ours = cutout.convolve(images, kernels)
    for image, kernel, result in zip(images, kernels, ours):
        for channel, expected in zip(image, result):
            there = correlate(channel.numpy(), kernel.numpy(), mode="mirror")
            np.testing.assert_allclose(expected, there.clip(0, 1), atol=1e-5)


@pytest.mark.parametrize("ratio, hole", [(0.5, 38), (0.4, 30)])
def test_a_grid_of_square_holes(ratio, hole):
    images = torch.ones(2, 3, 140, 768)
    result = CutoutAugmentation(grid_ratio=ratio).apply_draws(images, plain(2, grid=torch.tensor([True, False])))
    expected = torch.ones(140, 768)
    for top in range(0, 140, 76):
        for left in range(0, 768, 76):
            expected[top : top + hole, left : left + hole] = 0
    assert torch.equal(result[0], expected.expand(3, -1, -1)) and torch.equal(result[1], images[1])


def test_single_holes_have_the_sizes_of_the_recipe():
    images = torch.ones(400, 1, 140, 160)
    draws = seeded(1).draw(400)
    holes = draws.holes[:, :1]  # one hole an image
    black = cutout.cut_holes(images, holes, torch.ones(400, dtype=torch.long))[:, 0] == 0
    heights, widths = black.any(2).sum(1), black.any(1).sum(1)
    assert torch.equal(black.sum((1, 2)), heights * widths)  # rectangles
    for sides in (heights, widths):
        assert sides.min() == 14 and sides.max() == 28
    assert torch.stack([heights, widths]).float().corrcoef()[0, 1].abs() < 0.15
    rows, columns = black.any(2).float().mean(0), black.any(1).float().mean(0)
    assert rows[70] > 0.1 and rows[0] > 0 and columns[0] + columns[-1] > 0  # anywhere in the image


def test_only_as_many_holes_as_drawn():
    images, draws = torch.ones(2, 3, 140, 768), seeded(2).draw(2)
    both = cutout.cut_holes(images, draws.holes, torch.tensor([1, 25]))
    first = cutout.cut_holes(images[:1], draws.holes[:1, :1], torch.tensor([1]))
    assert torch.equal(both[:1], first)
    assert 5 * (both[0] == 0).sum() < (both[1] == 0).sum() <= 3 * 25 * 28 * 28


def test_a_batch_is_its_images_one_by_one():
    augmentation, images = seeded(3), batch(40)
    draws = augmentation.draw(40)
    together = augmentation.apply_draws(images, draws)
    for row in range(40):
        own = Draws(*(numbers[row : row + 1] for numbers in draws))
        torch.testing.assert_close(augmentation.apply_draws(images[row : row + 1], own), together[row : row + 1])
    assert (together != images).flatten(1).any(1).float().mean() > 0.7
    assert together.dtype == torch.float32 and together.min() >= 0 and together.max() <= 1


def test_copies_seeds_and_an_untouched_input():
    images = batch(5)
    before = images.clone()
    result = seeded(4)(images, copies=2)
    assert result.shape == (10, 3, 24, 40) and torch.equal(images, before)
    augmentation = seeded(4)
    assert torch.equal(result, augmentation.apply_draws(torch.cat([images, images]), augmentation.draw(10)))
    assert not torch.equal(result[:5], result[5:]) and torch.equal(seeded(4)(images, copies=2), result)
    torch.manual_seed(5)
    first = CutoutAugmentation()(images)
    torch.manual_seed(5)
    assert torch.equal(CutoutAugmentation()(images), first)


def test_chsg_takes_it():
    chsg = CHSG(LayoutSimulation(), CutoutAugmentation(), "l+s")
    ground, aerial, labels = chsg(batch(4), batch(4, 32, 32))
    assert ground.shape == (8, 3, 24, 40) and aerial.shape == (8, 3, 32, 32)
    assert labels.tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert len(CHSG(LayoutSimulation(), CutoutAugmentation(), "ls")(batch(4), batch(4, 32, 32))[0]) == 4


def test_autocast_and_half_precision_input_do_not_lower_the_precision():
    augmentation, images = seeded(6), batch(12)
    draws = augmentation.draw(12)
    expected = augmentation.apply_draws(images, draws)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augmentation.apply_draws(images, draws), expected)
    assert augmentation.apply_draws(images.half(), draws).dtype == torch.float32


def test_refusals():
    with pytest.raises(ValueError, match="divide by 255"):
        CutoutAugmentation()(batch(2) * 255)
    with pytest.raises(ValueError, match="grid_ratio must be between 0 and 1"):
        CutoutAugmentation(grid_ratio=1.0)
