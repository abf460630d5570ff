"""From stored images to embeddings: the one function for testers, search, and whatever else looks at images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..utils.precision import autocast


@torch.no_grad()
def embed_images(
    images: Tensor | Sequence[Tensor],
    network: Callable[[Tensor], Tensor],
    transform: Callable[[Tensor], Tensor] | None = None,
    *,
    device: torch.device | str,
    precision: str = "fp32",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the network's output for a batch of images, float32 `[B, D]` on the device.

    Args:
        images: `[B, 3, H, W]`, or a list of `[3, H, W]` of any sizes, if the transform makes them alike.
        network: what embeds, such as a model's `encode_query`; in evaluation mode, if that matters.
        transform: makes network input of the images on the device, such as a `RoleTransform`; None: they are that.
        device: where the network is.
        precision: of the network, "fp32" or "bf16" (autocast).
        dtype: what network input is converted to; None: nothing.

    Raises:
        TypeError: there is no transform, and the images are uint8.
    """
    if not isinstance(images, Tensor):
        if len({image.shape for image in images}) > 1:  # tiles of several sizes, on their way to the polar transform
            parts = [embed_input(image[None], transform, device, dtype) for image in images]
            return _run(network, torch.cat(parts), device, precision)
        images = torch.stack(list(images))
    return _run(network, embed_input(images, transform, device, dtype), device, precision)


def embed_input(
    images: Tensor, transform: Callable[[Tensor], Tensor] | None, device: torch.device | str, dtype: torch.dtype | None
) -> Tensor:
    """Return network input of stored images `[B, 3, H, W]`, on the device. Raises TypeError if it would be uint8."""
    images = images.to(device, non_blocking=True)
    images = images if transform is None else transform(images)
    if images.dtype == torch.uint8:
        raise TypeError("the images are uint8: give a batch_transform that makes normalised floats of them")
    return images if dtype is None else images.to(dtype)


def _run(network: Callable[[Tensor], Tensor], images: Tensor, device: torch.device | str, precision: str) -> Tensor:
    with autocast(precision, device):
        output = network(images)
    return output.float()


@contextmanager
def modes_restored(*models: nn.Module | None) -> Iterator[None]:
    """Leave every module in the mode, training or not, in which it came, frozen batch norms included."""
    before = {module: module.training for model in models if model is not None for module in model.modules()}
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
