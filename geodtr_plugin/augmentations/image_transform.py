"""How the stored images of one role become network input: the same in training, evaluation, search and export."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ..utils.errors import NotSquareError
from ..utils.typed import typed
from .field_of_view import crop_columns, random_columns
from .polar import PolarTransform

COLOURS = 3  # channels that show the scene; those behind them are maps, which follow their pixels


@dataclass(frozen=True)
class ImageTransform:
    """Resize, or unroll, the images of one role to a fixed size; saved with the weights.

    Attributes:
        height: rows of the network's input.
        width: columns of the network's input.
        polar: unroll square aerial tiles around their centre instead of resizing them.
        panorama_width: where the network sees a part of the panorama only, the columns that the whole one is resized
            to; `width` of these are cut out last, after any augmentation.
        tile: with polar, pixels along a tile that larger ones are reduced to, antialiased, before they are unrolled,
            which takes single pixels of them; None unrolls tiles as they are stored.
    """

    height: int
    width: int
    polar: bool = False
    panorama_width: int | None = None
    tile: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what `on_device` returns: of the whole panorama, where the network sees a part of it."""
        return self.height, self.panorama_width or self.width

    def on_load(self, image: Tensor) -> Tensor:
        """Resize an image in the loader's worker, antialiased, in uint8 so that little has to travel to the device.

        A tile for the polar transform keeps its size, or gets that of `tile`.

        Args:
            image: uint8 `[3, H, W]` as stored.

        Returns:
            uint8 `[3, height, width]` or `[3, height, panorama_width]`; with polar the tile, `[3, S, S]`.

        Raises:
            NotSquareError: a tile for the polar transform is not square.
        """
        if not self.polar:
            return self._resized(image)
        if image.shape[-1] != image.shape[-2]:
            raise NotSquareError(*image.shape[-2:])
        return self._reduced(image)

    def on_device(self, images: Tensor) -> Tensor:
        """Apply the polar transform, if any, and the scale of the network, on the batch's device.

        Args:
            images: `[B, 3, *, *]`, uint8, or float in [0, 1]; those of another size are resized.

        Returns:
            float32 `[B, 3, height, width]` in [0, 1], or of `panorama_width`, which `crop` makes narrow.
        """
        sized = self._unrolled(images) if self.polar else self._resized(images)
        scaled = sized.float() if images.is_floating_point() else sized / 255
        # the weights of a bilinear mean add up to 1 but for the last bit
        return scaled.clamp_(max=1) if self.polar else scaled

    def crop(self, images: Tensor, random_heading: bool = False) -> Tensor:
        """Cut the network's part out of panoramas `[B, 3, height, panorama_width]`; without a limit, return them.

        Args:
            images: from `on_device`, augmented or not, with or without maps behind their colours.
            random_heading: look anywhere instead of at the centre.
        """
        if self.panorama_width is None:
            return images
        return random_columns(images, self.width) if random_heading else crop_columns(images, self.width)

    def _resized(self, images: Tensor) -> Tensor:
        return _resize(images, [*self.size])

    def _reduced(self, tiles: Tensor) -> Tensor:
        return tiles if self.tile is None or tiles.shape[-1] <= self.tile else _resize(tiles, [self.tile, self.tile])

    def _unrolled(self, tiles: Tensor) -> Tensor:
        square = tiles.shape[-1] == tiles.shape[-2]  # the polar transform says what is wrong with others
        return PolarTransform(self.height, self.width)(self._reduced(tiles) if square else tiles)

    @property
    def tile_pixels(self) -> int:
        """Pixels along a tile beyond which the network sees no more of it."""
        if not self.polar:
            return max(self.height, self.width)
        # a row of the unrolled tile is a step from its centre to its edge, and its lowest row a circle of pi sides
        return self.tile or max(2 * self.height, round(self.width / math.pi))

    def to_config(self) -> dict[str, Any]:
        """Return a plain dictionary for config.json."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ImageTransform:
        """Return the transform that `to_config` described.

        Raises:
            ValueError: it describes none.
        """
        transform = typed(cls, config, "the image transform")
        if min(transform.height, transform.width, transform.panorama_width or 1, transform.tile or 1) < 1:
            raise ValueError(f"no image is {transform.height} x {transform.width}")
        return transform


def _resize(images: Tensor, size: list[int]) -> Tensor:
    if list(images.shape[-2:]) == size:
        return images
    from torchvision.transforms.v2 import functional

    return functional.resize(images, size, antialias=True)
