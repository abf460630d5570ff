"""CHSG, contrastive hard samples generation: every place appears twice in the batch, under two different layouts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..augmentations import COLOURS, LayoutSimulation, Samples, SemanticAugmentation, compose_layouts
from ..utils.errors import UnknownNameError


class Plan(NamedTuple):
    """What a variant does with a place."""

    twins: bool  # two samples of every place, or one
    layout: str  # "none", "drawn" (one for all samples of the place), "distinct" (the twin's differs)
    colours: str  # "none", "shared" (one draw for both samples of an image), "own"


# the rows of the paper's Tables VI and VIII
_PLANS = {
    "raw": Plan(twins=False, layout="none", colours="none"),
    "ls": Plan(twins=False, layout="drawn", colours="own"),
    "s": Plan(twins=True, layout="none", colours="own"),
    "s+same-l": Plan(twins=True, layout="drawn", colours="own"),
    "l": Plan(twins=True, layout="distinct", colours="none"),
    "same-s+l": Plan(twins=True, layout="distinct", colours="shared"),
    "l+s": Plan(twins=True, layout="distinct", colours="own"),
}
CHSG_VARIANTS = tuple(_PLANS)


def variant_name(name: str) -> str:
    """Return the one of CHSG_VARIANTS that is meant, also in the paper's spelling ("S + same L", "L only", "Raw").

    Raises:
        UnknownNameError: there is no such variant.
    """
    plain = re.sub(r"\s*\+\s*", "+", name.strip().lower()).removesuffix(" only").replace(" ", "-")
    if plain not in _PLANS:
        raise UnknownNameError("CHSG variant", name, CHSG_VARIANTS)
    return plain


class CHSG(nn.Module):
    """A generator of two samples of every place, twins, which differ in layout and colours (CHSG of GeoDTR+).

    The first sample has a uniformly drawn layout; the twin has one of the seven turns and flips that are not the
    identity on top of it. Ground and aerial image of a sample share their layout. Twins are labelled as different
    places, so that they are hard negatives of each other in every loss. Three lines in a plain loop:

        ground, aerial, labels = chsg(ground, aerial, labels)
        query, reference = model(ground, aerial)[:2]
        loss = loss_func(query, labels, ref_emb=reference, ref_labels=labels.clone())

    The variants of the paper's Table VIII, by name: "raw" (no augmentation), "ls" (layout and colours, no twins), "s"
    (twins differ in colours alone), "s+same-l" (one layout for both twins, own colours), "l" (layouts alone),
    "same-s+l" (identical colours, different layouts), "l+s" (the method). "raw" and "ls" neither double the batch nor
    change its labels. In "s" and "s+same-l" twins share their layout, so that a true match counts as a negative, as
    published.

    Args:
        layout: draws and applies the first layouts; None: `LayoutSimulation()`. The twin's turn does not depend on its
            strength.
        semantic: draws colours for every image; None: no colour change, and the images may be uint8.
        variant: one of CHSG_VARIANTS; None: "l+s", or "l" without `semantic`.
        generator: source of the layout draws; None: that of `layout`, else torch's global CPU generator.

    Raises:
        UnknownNameError: there is no such variant.
        ValueError: the variant changes colours, and `semantic` is None.

    Source: Zhang et al., TPAMI 2024, Table VIII.
    """

    def __init__(
        self,
        layout: LayoutSimulation | None = None,
        semantic: SemanticAugmentation | None = None,
        variant: str | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.name = variant_name(variant or ("l" if semantic is None else "l+s"))
        self.plan = _PLANS[self.name]
        if semantic is None and self.plan.colours != "none":
            raise ValueError(f"The CHSG variant {self.name!r} changes colours: pass semantic=SemanticAugmentation().")
        self.layout = LayoutSimulation() if layout is None else layout
        self.semantic: Any = semantic  # not None where the plan has colours
        self.generator = generator or self.layout.generator

    @classmethod
    def variant(
        cls, name: str, polar: bool = False, strength: str = "strong", generator: torch.Generator | None = None
    ) -> CHSG:
        """Build a variant with all its parts; `name` is one of CHSG_VARIANTS, the others are as in those parts."""
        changes_colours = _PLANS[variant_name(name)].colours != "none"
        semantic = SemanticAugmentation(strength, generator) if changes_colours else None
        return cls(LayoutSimulation(polar, strength, generator), semantic, name, generator)

    @property
    def multiplier(self) -> int:
        """Rows that come out for each pair that goes in: 2, or 1 for "raw" and "ls"."""
        return 2 if self.plan.twins else 1

    @property
    def turns(self) -> bool:
        """Whether aerial images may be turned by a quarter, so that they have to be square or polar."""
        return self.plan.layout == "distinct" or (self.plan.layout == "drawn" and self.layout.strength == "strong")

    @property
    def polar(self) -> bool:
        """Whether the aerial images are taken for polar-transformed ones."""
        return self.layout.polar

    @torch.no_grad()
    def forward(self, ground: Tensor, aerial: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Make the samples of a batch.

        Args:
            ground: panoramas `[B, C, H, W]`, float in [0, 1] before normalisation, or uint8 if colours stay. Channels
                behind the first three are maps: they follow the layout, and their values stay.
            aerial: tiles `[B, C, S, S]` or polar tiles `[B, C, H', W']`, likewise.
            labels: places, integers `[B]`; None: 0..B-1.

        Returns:
            ground, aerial `[2B, C, ...]` and labels int64 `[2B]`: all first samples, then all twins. A label is
            `2 * place + sample`, so that `labels ^ 1` are the twins' labels; large ones wrap around, which tells places
            apart by their last 63 bits. "raw" and "ls": B rows, labels unchanged.

        Raises:
            TypeError: labels or images are of the wrong type.
            ValueError: the sizes of the batch differ, tiles are not square, or images leave [0, 1].
        """
        return self.samples(ground, aerial, labels)[:3]

    @torch.no_grad()
    def samples(
        self, ground: Tensor, aerial: Tensor, labels: Tensor | None = None, more: Tensor | None = None
    ) -> Samples:
        """Make the samples of a batch as `forward` does, and tell their layouts.

        Args:
            ground, aerial, labels: as in `forward`.
            more: one more aerial image of every place, `[B, 3, ...]`: turned as the place's samples are, with colours
                of its own.
        """
        labels = torch.arange(len(ground), device=ground.device) if labels is None else labels
        _check_batch(ground, aerial, labels)
        ground, aerial = self._coloured(ground), self._coloured(aerial)
        more = None if more is None else self._coloured(more)
        layouts = None
        if self.plan.layout != "none":
            drawn = self._layouts(len(labels))
            ground, aerial, layouts = self.layout(ground, aerial, drawn)
            more = None if more is None else self.layout.turn_aerial(more, drawn)
        if self.plan.twins:
            first = labels.long() << 1
            labels = torch.cat([first, first | 1])
        return Samples(ground, aerial, labels, layouts, more)

    def _coloured(self, images: Tensor) -> Tensor:
        if self.plan.colours != "none" and images.shape[1] > COLOURS:
            maps = images[:, COLOURS:].repeat(self.multiplier, 1, 1, 1)
            return torch.cat([self._coloured(images[:, :COLOURS]), maps], 1)
        if self.plan.colours == "own":
            return self.semantic(images, copies=self.multiplier)
        if self.plan.colours == "shared":
            images = self.semantic(images)
        return images.repeat(self.multiplier, 1, 1, 1) if self.plan.twins else images

    def _layouts(self, n: int) -> Tensor:
        first = self.layout.sample(n, generator=self.generator)
        if not self.plan.twins:
            return first
        if self.plan.layout == "drawn":
            return first.repeat(2)
        turn = LayoutSimulation(strength="strong").sample(n, first.device, self.generator, exclude=0)
        return torch.cat([first, compose_layouts(first, turn)])

    def as_getter(
        self, device: torch.device | str | None = None, two_streams: bool = True
    ) -> Callable[[Any], tuple[Tensor, ...]]:
        """Return CHSG as the `data_and_label_getter` of a stock PML trainer; items are (ground, aerial, place).

        uint8 images are scaled to [0, 1]; normalisation is left to the first layer of the trunk. Keep the trainer's
        `set_min_label_to_zero` off: it knows the places' labels alone.

        Args:
            device: where the samples are made; None: where the batch is.
            two_streams: as TwoStreamMetricLoss wants it, (ground, aerial, labels); False: as all other trainers do,
                (images, labels), ground rows before aerial rows, for images of equal size.
        """

        def getter(batch):
            ground, aerial, labels = (torch.as_tensor(part).to(device=device) for part in batch)
            ground, aerial, labels = self(_unit_range(ground), _unit_range(aerial), labels)
            return (ground, aerial, labels) if two_streams else (torch.cat([ground, aerial]), labels.repeat(2))

        return getter

    def extra_repr(self) -> str:
        return f"variant={self.name!r}"


def _check_batch(ground: Tensor, aerial: Tensor, labels: Tensor) -> None:
    if labels.is_floating_point():
        raise TypeError(f"Labels are whole numbers, not {labels.dtype}: a twin's label differs in the last bit.")
    if len(ground) != len(aerial) or labels.shape != (len(ground),):
        raise ValueError(
            "A batch has as many ground images as aerial images and labels, but these are "
            f"{len(ground)}, {len(aerial)} and {list(labels.shape)}."
        )


def _unit_range(images: Tensor) -> Tensor:
    return images if images.is_floating_point() else images / 255
