"""Semantic augmentation: colours, bit depth and sharpness vary, the layout of the scene does not."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..utils.errors import UnknownNameError
from . import semantic_cpu as cpu
from .colours import CONTRAST, SATURATION, blend, blur, luma, posterize, posterize_, to_gray


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
    """Colour jitter, grayscale, posterize and vertical blur, in this order (GeoDTR+), on a GPU for all images at once.

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
        # autocast would blur in bfloat16
        with torch.autocast(images.device.type, enabled=False):
            return self._one_by_one(images, draws) if images.device.type == "cpu" else self._at_once(images, draws)

    def _at_once(self, images: Tensor, draws: Draws) -> Tensor:
        """Do what `apply_draws` promises in kernels whose number and shapes the draws do not change."""
        n, setting = len(draws.order), STRENGTHS[self.strength]
        images = images.repeat(-(-n // max(1, len(images))), 1, 1, 1)[:n].float()
        order = torch.tensor(ORDERS)[draws.order]
        factors, to_mean, to_luma, gray, posterized = _sent(
            images.device, draws.factors.gather(1, order), order == CONTRAST, order == SATURATION, draws.gray[:, None],
            draws.posterize[:, None],
        )  # fmt: skip
        for step in range(order.shape[1]):
            images = blend(images, factors[:, step], to_mean[:, step], to_luma[:, step])
        images = torch.lerp(images, to_gray(images), gray[:, 0])
        if setting.posterize:
            images = torch.lerp(images, posterize(images), posterized[:, 0])
        return blur(images, draws.sigma) if setting.blur else images

    def _one_by_one(self, images: Tensor, draws: Draws) -> Tensor:
        """Do what `apply_draws` promises on a CPU; see `semantic_cpu`."""
        result = images.new_empty((len(draws.order), *images.shape[1:]), dtype=torch.float32)
        setting, image = STRENGTHS[self.strength], result.new_empty(images.shape[1:])
        for row, (order, factors, gray, posterized, sigma) in enumerate(zip(*(part.tolist() for part in draws))):
            changed = image if setting.blur else result[row]
            cpu.colour_(changed.copy_(images[row % len(images)]), ORDERS[order], factors)
            if gray:
                changed.copy_(luma(changed).expand_as(changed))
            if posterized:
                posterize_(changed)
            if setting.blur:
                cpu.blur_rows(changed, sigma, out=result[row])
        return result

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


def _sent(device: torch.device, *numbers: Tensor) -> tuple[Tensor, ...]:
    """Send numbers `[n, *]` to the device in one copy, and return each as float32 `[n, *, 1, 1, 1]`."""
    sent = torch.cat([part.float() for part in numbers], dim=1).to(device, non_blocking=True)
    return sent[..., None, None, None].split([part.shape[1] for part in numbers], dim=1)
