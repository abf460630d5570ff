"""Whole networks of timm by name, with sentences where a name or a file is missing."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..utils.errors import UnknownNameError, UserError
from .trunks import TIMM_PREFIX


def timm_model(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """A network of timm. Args: its name, with or without `timm/` in front; options as `timm.create_model` takes them.

    Raises:
        UnknownNameError: timm has no such network.
        UserError: its weights could not be loaded.
    """
    import timm

    name = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(name):
        raise UnknownNameError("backbone", name, ["tiny", *timm.list_models()])
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except (OSError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The pretrained weights of {name!r} could not be loaded ({reason}). Without a network, put the file into "
            "Hugging Face's cache from a machine that has one, or train from scratch with --model.pretrained false."
        ) from error
