"""One file a method: model, recipe and facts. A new file in this folder is a new method (see the README).

Names are known without importing torch; a method's module is imported when the method is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.errors import UnknownNameError, UserError
from ._recipe import PARTS, Augment, Evaluation, Loss, Optim, Recipe, Sampling, View

if TYPE_CHECKING:
    from ._base import TwoTower

__all__ = [
    "PARTS", "Augment", "Embeddings", "Evaluation", "Facts", "Loss", "Optim", "Recipe", "Sampling", "TwoTower", "View",
    "create_model", "list_methods", "method_class", "register_method", "views_of",
]  # fmt: skip

_registered: dict[str, type[TwoTower]] = {}


def register_method(name: str):
    """Class decorator: make a TwoTower subclass known to `create_model` and to the command line under `name`."""

    def register(cls: type[TwoTower]) -> type[TwoTower]:
        cls.method_name = name
        _registered[name] = cls
        return cls

    return register


def list_methods() -> list[str]:
    """Names of all methods: those of this folder and those registered by other packages."""
    files = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted({name for name in files if not name.startswith("_")} | set(_registered))


def method_class(name: str) -> type[TwoTower]:
    """The class of a method by name; an unknown name is answered with the nearest known one."""
    if name not in list_methods():
        raise UnknownNameError("method", name, list_methods())
    if name not in _registered:
        importlib.import_module(f"{__name__}.{name}")
    return _registered[name]


def create_model(
    method: str | os.PathLike[str],
    *,
    query_size: tuple[int, int] | None = None,
    reference_size: tuple[int, int] | None = None,
    polar: bool | None = None,
    backbone: str | None = None,
    pretrained: bool = True,
    **options: Any,
) -> TwoTower:
    """Build a method's model, or load a trained one.

    Args:
        method: one of `list_methods()`. Or a trained model, which takes no options and comes in evaluation mode: a run
            folder, one that `geodtr export` wrote, or `hf-hub:user/name`, such a folder on the Hugging Face Hub. Where
            a folder bears the name of a method, `./name` is the folder.
        query_size, reference_size: (height, width) of the network's images; None takes the method's default.
        polar: whether reference images are polar-transformed; None takes the method's default.
        backbone: name of the trunk; None takes the method's default.
        pretrained: start from ImageNet weights, which are downloaded on first use.
        **options: further arguments of the method's class.

    Raises:
        UnknownNameError: the method or an option is not known.
        UserError: the options do not go together, or a trained model cannot be loaded.
    """
    given = dict(
        query_size=query_size, reference_size=reference_size, polar=polar, backbone=backbone, pretrained=pretrained
    )
    settings = {name: value for name, value in {**given, **options}.items() if value is not None}
    if _is_trained(method):
        return _load_trained(method, settings)
    cls = method_class(method)
    known = list(inspect.signature(cls).parameters)
    if "pretrained" not in known:  # a method without published weights has nothing to switch off
        settings.pop("pretrained", None)
    for name in settings:
        if name not in known:
            raise UnknownNameError(f"option of {method}", name, known)
    try:
        model = cls(**settings)
    except (TypeError, ValueError) as error:
        raise UserError(f"{method} cannot be built with {settings}: {error}") from error
    model.config = {"method": method, **settings}
    return model


def _is_trained(method: str | os.PathLike[str]) -> bool:
    """Whether this names a folder or a repository, and no method."""
    if isinstance(method, os.PathLike) or "/" in method or os.sep in method or method.startswith("hf-hub:"):
        return True
    return method not in list_methods() and Path(method).is_dir()


def _load_trained(source: str | os.PathLike[str], settings: dict[str, Any]) -> TwoTower:
    if given := [name for name, value in settings.items() if (name, value) != ("pretrained", True)]:
        raise UserError(f"{source} is a trained model, whose settings are fixed. Leave out: {', '.join(given)}.")
    from ._weights import load_model

    return load_model(source)


def __getattr__(name: str):
    if name == "views_of":
        return getattr(importlib.import_module(f"{__name__}._weights"), name)
    if name in ("Embeddings", "Facts", "TwoTower"):  # these need torch
        return getattr(importlib.import_module(f"{__name__}._base"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
