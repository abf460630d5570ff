"""One file a method: network, recipes with their values, facts of the paper. `register_method` adds one of your own.

Names are known without importing torch; a method's module is imported when the method is asked for.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.errors import UnknownNameError, UserError
from ..utils.lazy import lazy_imports
from ..utils.registry import Registry
from .packaged import packaged_names
from .ranges import check_options

if TYPE_CHECKING:
    from .base import Embeddings, Paper, TwoTower
    from .field_of_view import FieldOfView
    from .recipe import PARTS, Augment, Evaluation, Loss, Optim, Recipe, Sampling
    from .weights import load_author_weights, load_model, transforms_of

__getattr__, __dir__, _lazy = lazy_imports(__name__)
__all__ = ["METHODS", "create_model", "list_methods", "register_method", *_lazy]

_MODULES = (
    "cde", "cvft", "cvm_net", "dsm", "geodtr", "geodtr_plus", "haf", "her", "l2ltr", "netvlad", "oricnn", "safa",
    "safa_mining", "safa_port", "sample4geo", "seh", "simple", "transgeo", "vigor",
)  # fmt: skip
METHODS: Registry[type[TwoTower]] = Registry("method", __name__, {name: (name,) for name in _MODULES})


def register_method(name: str) -> Callable[[type[TwoTower]], type[TwoTower]]:
    """Make a `TwoTower` subclass known to `create_model` and to the commands under `name`, as a class decorator."""

    def decorate(cls: type[TwoTower]) -> type[TwoTower]:
        cls.method_name = name
        return METHODS.register(name)(cls)

    return decorate


def list_methods() -> list[str]:
    """Return the names of all methods, those of other packages and of `--import` included."""
    return sorted(METHODS)


def create_model(
    method: str | os.PathLike[str],
    *,
    query_size: tuple[int, int] | None = None,
    reference_size: tuple[int, int] | None = None,
    polar: bool | None = None,
    backbone: str | None = None,
    pretrained: bool | str = True,
    **options: Any,
) -> TwoTower:
    """Build a method's model, or load a trained one.

    Args:
        method: one of `list_methods()`. Or a trained model, which takes no options and comes in evaluation mode: a run
            folder, one that `geodtr export` wrote, `hf-hub:user/name`, such a folder on the Hugging Face Hub, or the
            name of a model that comes with the package. Where a folder bears the name of a method, `./name` is the
            folder.
        query_size, reference_size: (height, width) of the network's images; None takes the method's default.
        polar: whether reference images are polar-transformed; None takes the method's default.
        backbone: name of the trunk; None takes the method's default.
        pretrained: start from ImageNet weights, which are downloaded on first use. Or the name of a model that comes
            with the package, such as `worlds`, which is loaded with the settings that it was trained with, and comes in
            evaluation mode.
        **options: further arguments of the method's class.

    Raises:
        UnknownNameError: the method or an option is not known.
        UserError: an option is out of its range, options do not go together, or a trained model cannot be loaded.
    """
    given = dict(
        query_size=query_size, reference_size=reference_size, polar=polar, backbone=backbone, pretrained=pretrained
    )
    settings = {name: value for name, value in {**given, **options}.items() if value is not None}
    if _is_trained(method):
        return _load_trained(method, settings)
    cls = METHODS[str(method)]
    known = list(inspect.signature(cls).parameters)
    if "pretrained" not in known or isinstance(pretrained, str):  # there is nothing to switch off, or no need to
        settings.pop("pretrained", None)
    for name in settings:
        if name not in known:
            raise UnknownNameError(f"option of {method}", name, known)
    if isinstance(pretrained, str):
        return _build_packaged(str(method), pretrained, settings)
    check_options(cls, settings)
    try:
        model = cls(**settings)
    except (TypeError, ValueError, AssertionError) as error:  # torch asserts that heads divide a width
        raise UserError(f"{method} cannot be built with {settings}: {error}") from error
    model.normalise_as_trunk()
    model.config = {"method": method, **settings}
    return model


def _build_packaged(method: str, name: str, settings: dict[str, Any]) -> TwoTower:
    from .packaged import build_packaged

    return build_packaged(method, name, settings)


def _is_trained(method: str | os.PathLike[str]) -> bool:
    """Tell whether this names a folder or a repository, and no method."""
    if isinstance(method, os.PathLike) or "/" in method or os.sep in method or method.startswith("hf-hub:"):
        return True
    return method not in METHODS and (Path(method).is_dir() or method in packaged_names())


def _load_trained(source: str | os.PathLike[str], settings: dict[str, Any]) -> TwoTower:
    if given := [name for name, value in settings.items() if (name, value) != ("pretrained", True)]:
        raise UserError(f"{source} is a trained model, whose settings are fixed.", f"Leave out: {', '.join(given)}.")
    from .weights import load_model

    return load_model(source)
