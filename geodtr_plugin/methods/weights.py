"""Weights on disk: our folders (safetensors + config.json) and the checkpoints of a method's authors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..augmentations import ImageTransform, RoleTransform
from ..utils.errors import UserError
from . import create_model
from .base import TwoTower
from .hub import local_folder

WEIGHTS = ("best.safetensors", "last.safetensors", "model.safetensors")  # files of our folders, the first found counts
WRAPPERS = ("model_state_dict", "state_dict", "model")  # keys under which training scripts store a state dict


def load_author_weights(model: TwoTower, weights: str | Path | Mapping[str, Any]) -> TwoTower:
    """Fill a model from a checkpoint of the method's authors, strictly.

    Args:
        model: a model of the sizes and options that the checkpoint was trained with.
        weights: the authors' file, or its content: a state dict, or one under `model_state_dict`, `state_dict` or
            `model`, with or without `module.` before its keys.

    Raises:
        UserError: a tensor of the checkpoint finds no place, one of the model stays unfilled, or a shape differs.
    """
    found = unwrap(weights if isinstance(weights, Mapping) else read_tensors(weights))
    found = {name: tensor for name, tensor in model.author_tensors(found).items() if name not in model.author_extras}
    wanted = {model.author_key(key): key for key in model.state_dict()}
    wanted.pop(None, None)
    _check_names("the authors' checkpoint", found, wanted)
    return _fill(model, {wanted[name]: tensor for name, tensor in found.items()})


def load_weights(model: TwoTower, path: str | Path) -> TwoTower:
    """Fill a model from our .safetensors file or run folder, or from a checkpoint of the authors, strictly."""
    path = Path(path)
    if path.is_dir():
        path = find_weights(path)
    tensors = unwrap(read_tensors(path))
    state = model.state_dict()
    if not set(tensors) & set(state):
        return load_author_weights(model, tensors)
    tensors = model.adapt(tensors)
    _check_names(str(path), tensors, state)
    return _fill(model, tensors)


def load_model(source: str | os.PathLike[str], weights: str | None = None) -> TwoTower:
    """A trained model, on the CPU and in evaluation mode.

    Args:
        source: folder of a run, or one that `geodtr export` wrote, or `hf-hub:user/name`, such a folder on the Hub.
        weights: which file in it; None takes the best ones.
    """
    folder = local_folder(source)
    settings = read_config(folder)["model"]
    model = create_model(**{**settings, "pretrained": False})  # the weights that follow replace ImageNet's
    return load_weights(model, find_weights(folder) if weights is None else folder / weights).eval()


def views_of(source: str | os.PathLike[str]) -> dict[str, RoleTransform]:
    """What turns stored images into the input of a trained model, by role: `views["query"](images)`.

    A view takes images [B, 3, *, *], uint8 or float in [0, 1], and gives float32 [B, 3, height, width], normalised.

    Args:
        source: as `load_model` takes it.
    """
    config = read_config(folder := local_folder(source))
    with torch.device("meta"):  # the normalisation may depend on the model's options
        model = create_model(**{**config["model"], "pretrained": False})
    try:
        views = {role: ImageTransform.from_config(config["views"][role]) for role in ("query", "reference")}
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'} does not describe both roles' views. Export it again.") from error
    return {role: RoleTransform(view, model.mean, model.std) for role, view in views.items()}


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a run folder or an exported one, which names at least the model's method."""
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} holds no config.json. Name a run folder, or one that geodtr export wrote.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} cannot be read: {error}. Copy or export it again.") from error
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("method"), str):
        raise UserError(f"{file} describes no model of geodtr_plugin. Name a run folder, or one of geodtr export.")
    return config


def find_weights(folder: Path) -> Path:
    """The weights of a folder: the best ones of a run, else those after its last epoch, or those of an export."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder} holds no weights (none of {', '.join(WEIGHTS)}). Name a run folder or a file.")


def read_tensors(path: str | Path) -> Mapping[str, Any]:
    """Content of a .safetensors file or a torch checkpoint; nothing but tensors and plain containers is unpickled."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no weights file {path}.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch raise a dozen types for a file that is cut off or no checkpoint
        raise UserError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict inside a checkpoint, without the `module.` that data-parallel training puts before its keys."""
    for wrapper in WRAPPERS:
        if isinstance(checkpoint.get(wrapper), Mapping):
            checkpoint = checkpoint[wrapper]
    return {key.removeprefix("module."): value for key, value in checkpoint.items()}


def _check_names(source: str, found: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> None:
    missing, unknown = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or unknown:
        raise UserError(
            f"The weights of {source} do not fit the model. "
            + f"Missing: {_list(missing)}. Not known to the model: {_list(unknown)}. "
            + "Check --backbone, --polar, the image sizes and the model's options against those of the checkpoint."
        )


def _fill(model: TwoTower, tensors: Mapping[str, Tensor]) -> TwoTower:
    state = model.state_dict()
    differing = [
        f"{key} is {tuple(tensor.shape)} there and {tuple(state[key].shape)} here"
        for key, tensor in tensors.items()
        if tensor.shape != state[key].shape
    ]
    if differing:
        raise UserError(f"The weights have other shapes than the model: {_list(differing)}.")
    model.load_state_dict({**state, **tensors})
    return model


def _list(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
