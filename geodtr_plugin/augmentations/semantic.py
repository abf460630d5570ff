"""Semantic augmentation: colours, bit depth and sharpness vary, the layout of the scene does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..utils.errors import UnknownNameError
from . import semantic_cpu as cpu


class Strength(NamedTuple):
    """How far each operation goes."""

    jitter: float  # brightness, contrast and saturation factors come from [1 - jitter, 1 + jitter]; hue stays
    grayscale: float  # probability of a gray image
    posterize: float  # probability of 4 bits a channel
    blur: bool  # a vertical Gaussian blur, on every image


STRENGTHS = {
    "strong": Strength(jitter=0.3, grayscale=0.2, posterize=0.2, blur=True),
    "weak": Strength(jitter=0.1, grayscale=0.1, posterize=0.0, blur=False),
    "none": Strength(jitter=0.0, grayscale=0.0, posterize=0.0, blur=False),
}
POSTERIZE_BITS = 4
# 5 rows x 1 column: the authors' torchvision (1, 5) counts the width first, so their blur is vertical
BLUR_KERNEL = (5, 1)
BLUR_SIGMA = (0.1, 5.0)  # in pixels
# the orders in which brightness (0), contrast (1) and saturation (2) may follow each other
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


class Draws(NamedTuple):
    """The random numbers of n images, on the CPU."""

    order: Tensor  # int64 [n], a row of ORDERS
    factors: Tensor  # float32 [n, 3], brightness, contrast, saturation
    gray: Tensor  # bool [n]
    posterize: Tensor  # bool [n]
    sigma: Tensor  # float32 [n], pixels


class SemanticAugmentation(nn.Module):
    """Colour jitter, grayscale, posterize and vertical blur, in this order (GeoDTR+); on a GPU batched, by Kornia.

    Every image has its own draw, the order of the jitter included. The values are those of the authors' torchvision
    chain, except that nothing is rounded to 8 bits between the operations.

    Args:
        strength: "strong"; "weak" (jitter 0.1, grayscale 0.1, nothing else); "none" returns its input.
        generator: source of the draws; None: torch's global CPU generator, whatever device the images are on.

    Raises:
        UnknownNameError: there is no such strength.
    """

    def __init__(self, strength: str = "strong", generator: torch.Generator | None = None):
        super().__init__()
        if strength not in STRENGTHS:
            raise UnknownNameError("semantic strength", strength, STRENGTHS)
        self.strength, self.generator = strength, generator
        self._range_seen = False

    def forward(self, images: Tensor, copies: int = 1) -> Tensor:
        """Change the colours of images.

        Args:
            images: `[B, 3, H, W]`, float in [0, 1].
            copies: how many differently coloured ones to make of each.

        Returns:
            `[copies * B, 3, H, W]`, float32 in [0, 1]: all first copies, then all second ones.

        Raises:
            TypeError: the images are not floating point.
            ValueError: they are not `[B, 3, H, W]`, or leave [0, 1] (on a GPU only the first batch is checked).
        """
        self._check(images)
        if self.strength == "none":
            return images.repeat(copies, 1, 1, 1)
        return self.apply_draws(images, self.draw(copies * len(images)))

    def draw(self, n: int) -> Draws:
        """Draw the random numbers of n images."""
        where = self.generator.device if self.generator else None
        uniform = torch.rand(n, 7, generator=self.generator, device=where).cpu()
        setting = STRENGTHS[self.strength]
        low, high = BLUR_SIGMA
        return Draws(
            order=(uniform[:, 0] * len(ORDERS)).long(),
            factors=1 + setting.jitter * (2 * uniform[:, 1:4] - 1),
            gray=uniform[:, 4] < setting.grayscale,
            posterize=uniform[:, 5] < setting.posterize,
            sigma=low + (high - low) * uniform[:, 6],
        )

    @torch.no_grad()
    def apply_draws(self, images: Tensor, draws: Draws) -> Tensor:
        """Return image i modulo B of images `[B, 3, H, W]` under draw i of n, float32 `[n, 3, H, W]`."""
        n = len(draws.order)
        result = images.new_empty((n, *images.shape[1:]), dtype=torch.float32)
        # autocast would blur in bfloat16
        with torch.autocast(images.device.type, enabled=False):
            apply = self._one_by_one if images.device.type == "cpu" else self._by_order
            apply(images, draws, result)
        return result

    def _by_order(self, images: Tensor, draws: Draws, result: Tensor) -> None:
        """Fill `result`, all images with one order of the jitter at a time."""
        for rows in _same_order(draws.order):
            own = Draws(*(numbers[rows] for numbers in draws))
            on_device = rows.to(images.device, non_blocking=True)
            result[on_device] = self._chain(images[on_device % len(images)].float(), own)

    def _one_by_one(self, images: Tensor, draws: Draws, result: Tensor) -> None:
        """Fill `result` on a CPU; see `semantic_cpu`."""
        setting, image = STRENGTHS[self.strength], result.new_empty(images.shape[1:])
        for row, (order, factors, gray, posterized, sigma) in enumerate(zip(*(part.tolist() for part in draws))):
            changed = image if setting.blur else result[row]
            cpu.colour_(changed.copy_(images[row % len(images)]), ORDERS[order], factors)
            if gray:
                changed.copy_(cpu.luma(changed).expand_as(changed))
            if posterized:
                cpu.posterize_(changed, POSTERIZE_BITS)
            if setting.blur:
                cpu.blur_rows(changed, BLUR_KERNEL[0], sigma, out=result[row])

    def _chain(self, images: Tensor, draws: Draws) -> Tensor:
        images = jitter(images, draws.factors, ORDERS[draws.order[0]])
        images = _replace(images, draws.gray, to_gray)
        images = _replace(images, draws.posterize, posterize)
        return blur(images, draws.sigma) if STRENGTHS[self.strength].blur else images

    def _check(self, images: Tensor) -> None:
        if not images.is_floating_point():
            raise TypeError(f"Colours are changed on float images in [0, 1], not {images.dtype}: divide by 255 first.")
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"Colours are changed on images [B, 3, H, W], not {list(images.shape)}.")
        # on a GPU the look makes the host wait, and the mistake it finds is not one of single batches
        if images.numel() and (images.device.type == "cpu" or not self._range_seen):
            low, high = (bound.item() for bound in images.aminmax())
            if not 0 <= low <= high <= 1:
                raise ValueError(
                    f"Colours are changed on images in [0, 1], but these reach from {low:.3g} to {high:.3g}: "
                    "divide by 255, and normalise afterwards."
                )
            self._range_seen = True

    def extra_repr(self) -> str:
        return f"strength={self.strength!r}"


def jitter(images: Tensor, factors: Tensor, order: tuple[int, ...] = ORDERS[0]) -> Tensor:
    """Multiply brightness, contrast and saturation of images `[B, 3, H, W]` by factors `[B, 3]`, in any order."""
    from kornia import enhance

    # PIL's definitions; Kornia's plain adjust_brightness adds, and its adjust_saturation works in HSV
    operations = (
        enhance.adjust_brightness_accumulative,
        enhance.adjust_contrast_with_mean_subtraction,
        enhance.adjust_saturation_with_gray_subtraction,
    )
    for operation in order:
        images = operations[operation](images, factors[:, operation])
    return images


def to_gray(images: Tensor) -> Tensor:
    """Make the three channels of images `[B, 3, H, W]` equal (ITU-R 601 luma)."""
    from kornia.color import rgb_to_grayscale

    return rgb_to_grayscale(images).expand(-1, 3, -1, -1)


def posterize(images: Tensor) -> Tensor:
    """Keep the upper 4 bits of the 8 of images `[B, 3, H, W]` in [0, 1]."""
    from kornia.enhance import posterize as reduce_bits

    # filled on the device: Kornia copies a plain number there, for which the host would wait
    return reduce_bits(images, torch.full((), POSTERIZE_BITS, device=images.device))


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur images `[B, 3, H, W]` along their columns with standard deviations sigma `[B]`, in pixels."""
    from kornia.filters import gaussian_blur2d

    return gaussian_blur2d(images, BLUR_KERNEL, sigma[:, None].expand(-1, 2))


def _replace(images: Tensor, chosen: Tensor, operation) -> Tensor:
    """Apply `operation` to the chosen rows alone; `images` may be overwritten."""
    if not chosen.any():
        return images
    rows = chosen.nonzero()[:, 0].to(images.device, non_blocking=True)
    images[rows] = operation(images[rows])
    return images


def _same_order(order: Tensor) -> Iterator[Tensor]:
    """Yield the rows of each jitter order that occurs."""
    for number in order.unique().tolist():
        yield (order == number).nonzero()[:, 0]
