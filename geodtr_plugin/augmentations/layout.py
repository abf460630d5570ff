"""Layout simulation: the eight flips and quarter turns of a place, applied to panorama and aerial tile together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..utils.errors import UnknownNameError

# which layouts each strength draws from: all eight, the east-west mirror alone, nothing
STRENGTHS = {"strong": (0, 1, 2, 3, 4, 5, 6, 7), "weak": (0, 4), "none": (0,)}


def inverse_layout(layout: Tensor) -> Tensor:
    """Return the layouts that undo `layout`, int64 `[B]`: quarter turns turn back, reflections undo themselves.

    Exact for tiles and even panorama widths. At an odd width a half turn rolls by (W +- 1)/2, so that two of them are
    one column off and no layout is its exact inverse; `LayoutSimulation.undo` reverts it exactly.
    """
    return torch.where(layout < 4, -layout % 4, layout)


def compose_layouts(first: Tensor, second: Tensor) -> Tensor:
    """Return the layouts that equal `first` then `second`, int64 `[B]`; panoramas agree to a column."""
    turns = second % 4 + torch.where(second < 4, first, -first) % 4  # a mirror reverses the turns before it
    return 4 * (first // 4 ^ second // 4) + turns % 4


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # else a table made during evaluation could not be used in training
def _source_columns(width: int, device: torch.device) -> Tensor:
    """Return where each column of a turned panorama comes from, `[8, width]`, by the flip and roll of each layout."""
    columns = torch.arange(width)
    starts = (columns, columns.flip(0))
    return torch.stack([start.roll(round(turns * width / 4)) for start in starts for turns in range(4)]).to(device)


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _source_pixels(size: int, device: torch.device) -> Tensor:
    """Return where each pixel of a turned tile comes from, `[8, size * size]`, by the flip and rot90 of each layout."""
    pixels = torch.arange(size * size).view(size, size)
    starts = (pixels, pixels.flip(1))
    return torch.stack([start.rot90(-turns) for start in starts for turns in range(4)]).flatten(1).to(device)


def turn_panoramas(images: Tensor, layout: Tensor, undo: bool = False) -> Tensor:
    """Mirror and roll panoramas or polar tiles `[B, C, H, W]`, of any dtype, by `layout` `[B]`; `undo` reverts it."""
    if images.device.type == "cpu":
        return _one_by_one(_turn_panorama, images, layout, undo)
    return _gathered_panoramas(images, layout, undo)


def _gathered_panoramas(images: Tensor, layout: Tensor, undo: bool) -> Tensor:
    """Turn all panoramas in one gather, for GPUs."""
    columns = _source_columns(images.shape[-1], images.device)[layout.to(images.device, non_blocking=True)]
    columns = columns.argsort(-1) if undo else columns
    return images.gather(-1, columns[:, None, None].expand_as(images))


def turn_tiles(images: Tensor, layout: Tensor, undo: bool = False) -> Tensor:
    """Mirror and turn square tiles `[B, C, S, S]` of any dtype by `layout` `[B]`; `undo` reverts exactly."""
    layout = inverse_layout(layout) if undo else layout
    if images.device.type == "cpu":
        return _one_by_one(_turn_tile, images, layout)
    return _gathered_tiles(images, layout)


def _gathered_tiles(images: Tensor, layout: Tensor) -> Tensor:
    """Turn all tiles in one gather, for GPUs."""
    pixels = _source_pixels(images.shape[-1], images.device)[layout.to(images.device, non_blocking=True)]
    flat = images.flatten(2)
    return flat.gather(2, pixels[:, None].expand_as(flat)).view(images.shape)


def turn_offsets(offsets: Tensor, layout: Tensor) -> Tensor:
    """Mirror and turn places in square tiles, as `turn_tiles` does the tiles.

    Args:
        offsets: (down, right) from the tile's centre, in any unit, `[B, 2]`.
        layout: int64 `[B]`.
    """
    down, right = offsets.unbind(-1)
    right = torch.where(layout >= 4, -right, right)
    turned = torch.stack([down, right, right, -down, -down, -right, -right, down], dim=-1).unflatten(-1, (4, 2))
    return turned.gather(-2, (layout % 4)[:, None, None].expand(-1, 1, 2)).squeeze(-2)


def _one_by_one(turn: Callable[..., Tensor], images: Tensor, layout: Tensor, *arguments: bool) -> Tensor:
    """Turn each image for itself: on a CPU copies of whole rows take half as long as gathered pixels."""
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    for image, number, out in zip(images, layout.tolist(), result):
        out.copy_(turn(image, number, *arguments))
    return result


def _turn_panorama(image: Tensor, layout: int, undo: bool) -> Tensor:
    columns = round(layout % 4 * image.shape[-1] / 4)
    if undo:
        image = image.roll(-columns, -1)
        return image.flip(-1) if layout >= 4 else image
    image = image.flip(-1) if layout >= 4 else image
    return image.roll(columns, -1)


def _turn_tile(image: Tensor, layout: int) -> Tensor:
    image = image.flip(-1) if layout >= 4 else image
    return image.rot90(-(layout % 4), (-2, -1))


class LayoutSimulation(nn.Module):
    """The turns and mirrorings of a panorama and its aerial tile together (layout simulation, LS).

    A layout is a number 0..7, `4 * flip + turns`: first an east-west mirror of both images if flip, then `turns`
    quarter turns clockwise of the tile, while the panorama's content moves right by `round(turns * W / 4)` columns.
    Pixels are moved, never resampled, so every dtype keeps its exact values.

    Args:
        polar: the aerial images are polar-transformed (mirrored and rolled as panoramas are), not square tiles.
        strength: "strong" draws uniformly from all eight layouts, "weak" mirrors half of the places, "none" nothing.
        generator: source of the draws; None: torch's global CPU generator.

    Raises:
        UnknownNameError: there is no such strength.

    Source: Zhang et al., AAAI 2023 (GeoDTR), and TPAMI 2024 (GeoDTR+).
    """

    def __init__(self, polar: bool = False, strength: str = "strong", generator: torch.Generator | None = None):
        super().__init__()
        if strength not in STRENGTHS:
            raise UnknownNameError("layout strength", strength, STRENGTHS)
        self.polar, self.strength, self.generator = polar, strength, generator

    def forward(
        self, ground: Tensor, aerial: Tensor, layout: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Apply `layout`, or a fresh draw.

        Args:
            ground: panoramas `[B, C, H, W]`, column 0 south, W/2 north.
            aerial: tiles `[B, C, S, S]`, north up, or polar tiles `[B, C, H', W']`.
            layout: integers 0..7, `[B]`; None: drawn.

        Returns:
            Ground, aerial (dtype kept) and the layout, int64 `[B]`, on the images' device.

        Raises:
            ValueError: batch sizes differ, tiles are not square, or the layout is no list of B numbers 0..7.
        """
        if layout is None:
            layout = self.sample(len(ground))
        return self._laid_out(ground, aerial, layout, undo=False)

    def undo(self, ground: Tensor, aerial: Tensor, layout: Tensor | Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Revert `forward(..., layout)` exactly, at every width; arguments, shapes and errors are as there."""
        return self._laid_out(ground, aerial, layout, undo=True)

    def _laid_out(self, ground: Tensor, aerial: Tensor, layout, undo: bool) -> tuple[Tensor, Tensor, Tensor]:
        layout = self._checked(ground, aerial, layout)
        on_device = layout.to(ground.device, non_blocking=True)
        return turn_panoramas(ground, layout, undo), self.turn_aerial(aerial, layout, undo), on_device

    def turn_aerial(self, aerial: Tensor, layout: Tensor, undo: bool = False) -> Tensor:
        """Turn aerial images alone, `[B, C, ...]`, by layouts int64 `[B]`; `undo` reverts it exactly."""
        return (turn_panoramas if self.polar else turn_tiles)(aerial, layout, undo)

    def _checked(self, ground: Tensor, aerial: Tensor, layout) -> Tensor:
        if len(ground) != len(aerial):
            raise ValueError(f"Each ground image needs an aerial image, but they are {len(ground)} and {len(aerial)}.")
        if not self.polar and aerial.shape[-1] != aerial.shape[-2]:
            raise ValueError(
                f"Aerial images of {aerial.shape[-2]}x{aerial.shape[-1]} pixels cannot be turned by a quarter: "
                "use square tiles, or LayoutSimulation(polar=True) if they are polar-transformed."
            )
        layout = torch.as_tensor(layout)
        if layout.is_floating_point() or layout.shape != (len(ground),) or ((layout < 0) | (layout > 7)).any():
            raise ValueError(f"A layout is one whole number 0..7 for each of the {len(ground)} places, not {layout}.")
        return layout.long()

    def sample(
        self,
        n: int,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
        exclude: Tensor | int | None = None,
    ) -> Tensor:
        """Draw layouts uniformly from those of this strength.

        Args:
            n: how many.
            device: where the result is wanted; None: the generator's device.
            generator: source of the draws; None: this object's, else torch's global CPU generator.
            exclude: a layout that must not be drawn, one for all or one for each.

        Returns:
            int64 `[n]`.

        Raises:
            ValueError: `exclude` leaves nothing to draw from.
        """
        generator = generator or self.generator
        where = generator.device if generator else torch.device("cpu")
        known = torch.tensor(STRENGTHS[self.strength], device=where)
        allowed = torch.ones(n, len(known), device=where)
        if exclude is not None:
            allowed *= known != torch.as_tensor(exclude, device=where).reshape(-1, 1)
            if not allowed.any(1).all():
                raise ValueError(f"Layouts of strength {self.strength!r} have no other than the excluded one to draw.")
        return known[torch.multinomial(allowed, 1, generator=generator)[:, 0]].to(device or where)

    def extra_repr(self) -> str:
        return f"polar={self.polar}, strength={self.strength!r}"
