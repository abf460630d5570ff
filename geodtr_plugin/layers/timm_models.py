"""Whole networks of timm by name, with messages where a name or a file is missing."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..utils.errors import UnknownNameError
from .trunk_packages import timm_network
from .trunks import TIMM_PREFIX, downloading


def timm_model(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """Build a network of timm, by its name with or without `timm/` in front.

    Args:
        name: timm's.
        pretrained: load its weights: of an installed package that holds them, else downloaded on first use.
        **options: as `timm.create_model` takes them.

    Raises:
        UnknownNameError: timm has no such network.
        UserError: its weights could not be loaded.
    """
    import timm

    name = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(name):
        raise UnknownNameError("backbone", name, ["tiny", *timm.list_models()])
    with downloading(name):
        return timm_network(name, pretrained, **options)
