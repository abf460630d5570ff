"""Sample4Geo's augmentation of single images: compression, colours, sharpness, and patches that are dropped."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .colours import jitter
from .semantic import SemanticAugmentation

JPEG, JPEG_QUALITY = 0.5, (90, 100)  # probability; whole numbers, both included
JITTER, JITTER_RANGE = 0.5, 0.15  # factors 1 +- 0.15; hue +- 0.15 of the colour circle
OPERATIONS = 4  # brightness, contrast, saturation, hue, in any order
FILTER = 0.3  # half of it is blur, half is sharpening
REACH = 3  # pixels from the centre of the largest kernel to its edge; blur is of 3, 5 or 7 pixels
KERNEL = (2 * REACH + 1, 2 * REACH + 1)
BLUR_SIGMA, BLUR_BETA, BLUR_NOISE = (0.2, 1.0), (0.5, 8.0), (0.9, 1.1)
SHARPEN_ALPHA, SHARPEN_LIGHTNESS = (0.2, 0.5), (0.5, 1.0)
DROP = 0.3  # half of it is a grid, half are single holes
GRID_UNITS = 10  # grid cells across an image, which are square
HOLES, HOLE_SIDE = (10, 25), (0.1, 0.2)  # whole numbers, both included; share of the image's HEIGHT


class Draws(NamedTuple):
    """The random numbers of n images, on the CPU."""

    quality: Tensor  # float32 [n], 0: no compression
    order: Tensor  # int64 [n, 4], a permutation of the jitter's operations; rows of -1: none
    factors: Tensor  # float32 [n, 4], brightness, contrast, saturation, hue (in radians)
    kernels: Tensor  # float32 [n, 7, 7]
    filtered: Tensor  # bool [n]
    grid: Tensor  # bool [n]
    holes: Tensor  # float32 [n, 25, 4] in [0, 1): height, width, top, left of a hole, as shares of what is possible
    number: Tensor  # int64 [n], holes that count; 0: none


class CutoutAugmentation(SemanticAugmentation):
    """Compression, colour jitter, blur or sharpening, and dropped patches: the semantic augmentation of Sample4Geo.

    In this order, each by a draw of its own for every image, batched and on the images' device:

    * JPEG of quality 90 to 100 (probability 0.5), by Kornia's codec;
    * brightness, contrast, saturation and hue by up to 0.15, in random order (0.5);
    * one of blur (a rotated, generalised Gaussian of 3 to 7 pixels with noise in its kernel) and sharpening (0.3);
    * one of a grid of square holes and 10 to 25 single holes, which become black (0.3).

    As in the authors' code, and as its Albumentations computes it; other than there, the compression comes after the
    resizing, nothing is rounded to 8 bits, and ground and aerial images have one `grid_ratio`, not 0.5 and 0.4.

    Args:
        generator: source of the draws; None: torch's global CPU generator, whatever device the images are on.
        grid_ratio: side of a grid's holes, as a share of its cells.

    Raises:
        ValueError: `grid_ratio` is not between 0 and 1.
    """

    def __init__(self, generator: torch.Generator | None = None, grid_ratio: float = 0.5):
        super().__init__(generator=generator)
        if not 0 < grid_ratio < 1:
            raise ValueError(f"grid_ratio must be between 0 and 1, not {grid_ratio}")
        self.grid_ratio = grid_ratio

    def draw(self, n: int) -> Draws:  # type: ignore[override]  # numbers of its own operations
        """Draw the random numbers of n images."""
        where = self.generator.device if self.generator else None

        def uniform(*shape: int) -> Tensor:
            return torch.rand(n, *shape, generator=self.generator, device=where).cpu()

        factors = _between(uniform(OPERATIONS), -JITTER_RANGE, JITTER_RANGE)
        filtered, dropped = uniform(), uniform()
        blurred, sharpened = blur_kernels(uniform(6), uniform(*KERNEL)), sharpen_kernels(uniform(2))
        return Draws(
            quality=_whole(uniform(), *JPEG_QUALITY).float().where(uniform() < JPEG, 0),
            order=uniform(OPERATIONS).argsort(1).where(uniform(1) < JITTER, -1),
            factors=torch.cat([1 + factors[:, :3], 2 * math.pi * factors[:, 3:]], 1),
            kernels=blurred.where((filtered < FILTER / 2)[:, None, None], sharpened),
            filtered=filtered < FILTER,
            grid=dropped < DROP / 2,
            holes=uniform(HOLES[1], 4),
            number=_whole(uniform(), *HOLES).where((dropped >= DROP / 2) & (dropped < DROP), 0),
        )

    @torch.no_grad()
    def apply_draws(self, images: Tensor, draws: Draws) -> Tensor:  # type: ignore[override]
        """Return image i modulo B of images `[B, 3, H, W]` under draw i of n, float32 `[n, 3, H, W]`."""
        n = len(draws.quality)
        with torch.autocast(images.device.type, enabled=False):
            result = images.float().repeat(n // len(images), 1, 1, 1) if n else images.float()
            _change(result, draws.quality > 0, compress, draws.quality)
            for step in range(OPERATIONS):
                for operation, apply in enumerate(_ADJUST):
                    _change(result, draws.order[:, step] == operation, apply, draws.factors)
            _change(result, draws.filtered, convolve, draws.kernels)
            _change(result, draws.grid, self._cut_grid)
            _change(result, draws.number > 0, cut_holes, draws.holes, draws.number)
            return result

    def _cut_grid(self, images: Tensor) -> Tensor:
        """Return images `[n, 3, H, W]` with black squares at the top left of every cell of a grid."""
        height, width = images.shape[-2:]
        cell = max(2, width // GRID_UNITS)
        rows, columns = _in_hole(height, min(cell, height), self.grid_ratio), _in_hole(width, cell, self.grid_ratio)
        return images.masked_fill((rows[:, None] & columns).to(images.device, non_blocking=True), 0)

    def extra_repr(self) -> str:
        return f"grid_ratio={self.grid_ratio}"


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Return images `[n, 3, H, W]` as JPEG files of a quality `[n]` show them."""
    from kornia.enhance import jpeg_codec_differentiable

    return jpeg_codec_differentiable(images, quality).clamp(0, 1)


def shift_hue(images: Tensor, factors: Tensor) -> Tensor:
    """Turn the hue of images `[n, 3, H, W]` by the last of factors `[n, 4]`, in radians."""
    from kornia.enhance import adjust_hue

    return adjust_hue(images, factors[:, 3])


_ADJUST = (
    lambda images, factors: jitter(images, factors, (0,)),
    lambda images, factors: jitter(images, factors, (1,)),
    lambda images, factors: jitter(images, factors, (2,)),
    shift_hue,
)


def blur_kernels(uniform: Tensor, noise: Tensor) -> Tensor:
    """Make noisy kernels exp(-(x' S^-1 x)^beta / 2) of sum 1, `[n, 7, 7]`, of draws `[n, 6]`, `[n, 7, 7]` in [0, 1).

    Albumentations' AdvancedBlur: a Gaussian of two widths, rotated, whose exponent is drawn too.
    """
    axis = torch.arange(-REACH, REACH + 1.0)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    widths = _between(uniform[:, :2, None, None], *BLUR_SIGMA)
    angle = math.pi * (uniform[:, 2, None, None] - 0.5)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    # the exponent is below 1 as often as above
    heavy, light = _between(uniform[:, 4], BLUR_BETA[0], 1), _between(uniform[:, 4], 1, BLUR_BETA[1])
    beta = heavy.where(uniform[:, 3] < 0.5, light)[:, None, None]
    distance = (along / widths[:, 0]) ** 2 + (across / widths[:, 1]) ** 2
    kernels = torch.exp(-0.5 * distance**beta) * _between(noise, *BLUR_NOISE)
    reach = _whole(uniform[:, 5, None, None], 1, REACH)
    kernels = kernels.where((x.abs() <= reach) & (y.abs() <= reach), 0)
    return kernels / kernels.sum((1, 2), keepdim=True)


def sharpen_kernels(uniform: Tensor) -> Tensor:
    """Make kernels `[n, 7, 7]` that mix an image and its edges (Albumentations' Sharpen), of draws `[n, 2]`."""
    alpha, lightness = _between(uniform[:, 0], *SHARPEN_ALPHA), _between(uniform[:, 1], *SHARPEN_LIGHTNESS)
    kernels = torch.zeros(len(uniform), *KERNEL)
    kernels[:, REACH - 1 : REACH + 2, REACH - 1 : REACH + 2] = -alpha[:, None, None]
    kernels[:, REACH, REACH] = 1 + alpha * (7 + lightness)
    return kernels


def convolve(images: Tensor, kernels: Tensor) -> Tensor:
    """Filter images `[n, 3, H, W]`, each by its own kernel `[n, 7, 7]`; beyond the edge the image is mirrored."""
    n, channels = images.shape[:2]
    padded = F.pad(images, (REACH,) * 4, mode="reflect").flatten(0, 1)[None]
    weights = kernels.repeat_interleave(channels, 0)[:, None]
    return F.conv2d(padded, weights, groups=n * channels).view_as(images).clamp(0, 1)


def cut_holes(images: Tensor, holes: Tensor, number: Tensor) -> Tensor:
    """Return images `[n, 3, H, W]` with the first `number` `[n]` of holes `[n, 25, 4]` black; see `Draws`."""
    height, width = images.shape[-2:]
    least, most = (max(1, int(share * height)) for share in HOLE_SIDE)
    tall = (least + holes[..., 0] * (most - least + 1)).long().clamp(max=height)
    wide = (least + holes[..., 1] * (most - least + 1)).long().clamp(max=width)
    top, left = (holes[..., 2] * (height - tall + 1)).long(), (holes[..., 3] * (width - wide + 1)).long()
    counted = torch.arange(holes.shape[1], device=holes.device) < number[:, None]
    row, column = (torch.arange(size, device=holes.device) for size in (height, width))
    rows = (row >= top[..., None]) & (row < (top + tall)[..., None]) & counted[..., None]
    columns = (column >= left[..., None]) & (column < (left + wide)[..., None])
    inside = rows.float().transpose(1, 2) @ columns.float()  # how many holes cover a pixel
    return images.masked_fill(inside[:, None] > 0, 0)


def _whole(uniform: Tensor, low: int, high: int) -> Tensor:
    """Make whole numbers from low to high, both included, of numbers in [0, 1)."""
    return low + ((high - low + 1) * uniform).long()


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Make numbers from low to high of numbers in [0, 1)."""
    return low + (high - low) * uniform


def _in_hole(size: int, cell: int, ratio: float) -> Tensor:
    """Tell which of `size` rows or columns lie in a hole; a hole leaves at least one of each cell."""
    hole = min(max(1, int(cell * ratio)), cell - 1)
    return torch.arange(size) % cell < hole


def _change(images: Tensor, chosen: Tensor, operation, *numbers: Tensor) -> None:
    """Apply `operation` to the chosen images, with their rows of the numbers, in place."""
    if not chosen.any():
        return
    rows = chosen.nonzero()[:, 0]
    own = [values[rows].to(images.device, non_blocking=True) for values in numbers]
    rows = rows.to(images.device, non_blocking=True)
    images[rows] = operation(images[rows], *own)
