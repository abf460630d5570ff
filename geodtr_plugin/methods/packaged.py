"""The models that come with the package, by name: folders below `weights/`, as `geodtr export` writes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.errors import UnknownNameError, UserError
from ..utils.reading import read_json

if TYPE_CHECKING:
    from .base import TwoTower

FOLDER = Path(__file__).parents[1] / "weights"
AGAIN = "Install geodtr_plugin again, or make them anew: python benchmarks/pretrain.py."


def packaged_names() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(file.parent.name for file in FOLDER.glob("*/config.json"))


def packaged_folder(source: str | os.PathLike[str]) -> Path | None:
    """Return the folder of a model that comes with the package; None if this is not the name of one.

    The name goes before a folder of that name in the current one, which is `./name`.
    """
    return FOLDER / source if isinstance(source, str) and source in packaged_names() else None


def remedy_for(folder: Path, otherwise: str) -> str:
    """Return what to do about a damaged folder of a model: for one of the package that, else what is given."""
    return AGAIN if folder.parent == FOLDER else otherwise


def packaged_of(method: str) -> dict[str, list[str]]:
    """Return the training sets of the models of a method that come with the package, by their names."""
    configs = {name: read_json(FOLDER / name / "config.json", AGAIN) for name in packaged_names()}
    return {name: c["training"]["train"] for name, c in configs.items() if c["model"]["method"] == method}


def require_packaged(name: str) -> Path:
    """Return the folder of a model that comes with the package.

    Raises:
        UserError: there is no such model.
    """
    folder = packaged_folder(name)
    if folder is None and not packaged_names():
        raise UserError(f"This installation holds no weights, {name!r} among them.", AGAIN)
    if folder is None:
        raise UnknownNameError("model in the package named", name, packaged_names())
    return folder


def build_packaged(method: str, name: str, given: dict[str, Any]) -> TwoTower:
    """Return a model that comes with the package, in evaluation mode.

    Args:
        method: what it is expected to be a model of.
        name: its name.
        given: arguments of the model that it must have; they may be left out.

    Raises:
        UserError: the package has no model of that name, or it is another method's, or has other arguments, or its file
            is damaged.
    """
    from .weights import load_model

    stored = read_json(require_packaged(name) / "config.json", AGAIN)["model"]
    if stored["method"] != method:
        raise UserError(f"{name} are weights of {stored['method']}, not of {method}.", f"Ask for {stored['method']}.")
    model = load_model(name)
    other = [f"{key} {value!r}" for key, value in given.items() if _plain(value) != _value(model, stored, key)]
    if other:
        raise UserError(
            f"{name} has other settings than {', '.join(other)}.",
            f"Leave them out, or train from other weights: {name} is built as it was trained.",
        )
    model.config["pretrained"] = name
    return model


def _value(model: TwoTower, stored: dict[str, Any], key: str) -> Any:
    """Return what a model was built with: as it is stored, as the model knows it, or by default."""
    import inspect

    default = inspect.signature(type(model)).parameters[key].default
    value = getattr(model, key) if key in ("query_size", "reference_size", "polar") else stored.get(key, default)
    return _plain(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value  # as JSON has it
