"""Weights on disk and on the Hugging Face Hub: our folders (safetensors + config.json) and the authors' checkpoints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..augmentations import ImageTransform, RoleTransform
from ..utils.digest import sha256_of
from ..utils.errors import DamagedFileError, UnknownNameError, UserError
from ..utils.reading import read_json, understood
from ..utils.roles import ROLES, Role
from . import METHODS, create_model, tensorflow
from .base import TwoTower
from .packaged import packaged_folder, remedy_for
from .weights_file import examples, read_tensors, state_dict_of

WEIGHTS = ("best.safetensors", "last.safetensors", "model.safetensors")  # of our folders; the first that exists counts
HUB_PREFIX = "hf-hub:"  # as timm writes it
HUB_FILES = ("config.json", "model.safetensors")  # what a model is loaded from; the rest of a repository stays there


def load_author_weights(model: TwoTower, weights: str | Path | Mapping[str, Any]) -> TwoTower:
    """Fill a model from a checkpoint of the method's authors, strictly, and return it.

    Args:
        model: a model of the sizes and options that the checkpoint was trained with.
        weights: the authors' file, or its content: a state dict, or one under `model_state_dict`, `state_dict` or
            `model`, also of a model within torch.compile or data-parallel training. Of TensorFlow's networks, a dict
            or an .npz file of {name of a variable: array in TensorFlow's layout}, optimizers' variables included.

    Raises:
        UserError: a tensor of the checkpoint finds no place, one of the model stays unfilled, or a shape differs.
    """
    if isinstance(weights, Mapping):
        arrays = {name: x for name, x in weights.items() if isinstance(x, np.ndarray)}
        tensors = {**tensorflow.as_tensors(arrays), **state_dict_of(weights)}
        return _load_theirs(model, tensors, "the authors' checkpoint")
    return _load_theirs(model, read_tensors(weights), str(weights))


def _load_theirs(model: TwoTower, tensors: Mapping[str, Tensor], source: str) -> TwoTower:
    of_tensorflow = model.author_framework == "tensorflow"
    if of_tensorflow:
        tensors = tensorflow.variables(tensors)
    tensors = {name: x for name, x in model.author_tensors(tensors).items() if name not in model.author_extras}
    names = {name: key for key in model.state_dict() if (name := model.author_key(key)) is not None}
    _check_names(source, tensors, names)
    ours = {names[name]: tensor for name, tensor in tensors.items()}
    return _fill(model, tensorflow.to_our_layout(model, ours) if of_tensorflow else ours)


def load_weights(model: TwoTower, path: str | Path) -> TwoTower:
    """Fill a model from our .safetensors file or run folder, or from a checkpoint of the authors, and return it.

    Raises:
        UserError: there are no weights, or they do not fit the model.
    """
    path = Path(path)
    if path.is_dir():
        path = find_weights(path)
    config = _config_of(path)
    _check_digest(path, config)
    tensors: Mapping[str, Tensor] = read_tensors(path)
    state = model.state_dict()
    try:
        if not set(tensors) & set(state):
            return _load_theirs(model, tensors, str(path))
        tensors = _without_dropped(model, model.adapt(tensors))
        _check_names(str(path), tensors, state)
        _fill(model, tensors)
        return model if config is None else _normalised(model, config, path.parent)
    except UserError as error:
        method = config and config["model"]["method"]
        if method is None:
            raise
        if method == model.method_name:
            remedy = f"Leave out --recipe and options of the model: it is then built as {path.parent} says."
            raise UserError(error.message, remedy) from error
        message = f"{path} holds weights of the method {method}, not of {model.method_name}."
        raise UserError(message, f"Add --method {method}, or name weights of {model.method_name}.") from error


def _config_of(path: Path) -> dict[str, Any] | None:
    """Return the config.json beside one of our files of weights; None if there is none that describes a model."""
    try:
        return read_config(path.parent) if path.name in WEIGHTS else None
    except UserError:
        return None


def _check_digest(path: Path, config: Mapping[str, Any] | None) -> None:
    """Raise DamagedFileError for a file that is not the one that its config.json was written for."""
    stated = config and config.get("sha256")
    if stated and path.is_file() and sha256_of(path) != stated:
        remedy = remedy_for(path.parent, "Copy or export it again.")
        raise DamagedFileError(f"{path} is damaged: its SHA-256 is not that of config.json.", remedy)


def _without_dropped(model: TwoTower, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Leave out tensors of stages that trunks of earlier versions had and never used."""
    modules = model.named_modules()
    dropped = tuple(f"{name}.{begin}" for name, module in modules for begin in getattr(module, "dropped", ()))
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(dropped)}


def _normalised(model: TwoTower, config: Mapping[str, Any], folder: Path) -> TwoTower:
    """Give a model the normalisation that its config.json states, and return it."""
    with understood(folder / "config.json", "Copy or export it again."):
        model.restore_normalisation(config.get("normalisation"))
    return model


def load_model(source: str | os.PathLike[str], weights: str | None = None) -> TwoTower:
    """Load a trained model, on the CPU and in evaluation mode.

    A folder never imports code: a method of one's own must be registered before.

    Args:
        source: folder of a run, or one that `geodtr export` wrote, `hf-hub:user/name`, such a folder on the Hub, or
            the name of a model that comes with the package.
        weights: which file in it; None takes the best ones.

    Raises:
        UnknownNameError: the method is not registered; the remedy names the modules that the run had imported.
        UserError: there is no such folder, or its model cannot be built or filled.
    """
    folder = local_folder(source)
    model = _untrained(read_config(folder), folder)
    return load_weights(model, find_weights(folder) if weights is None else folder / weights).eval()


def transforms_of(source: str | os.PathLike[str]) -> dict[Role, RoleTransform]:
    """Return the image transforms of a trained model by role: `transforms["query"](images)` is its input.

    A transform takes images `[B, 3, *, *]`, uint8 or float in [0, 1], and gives float32 `[B, 3, height, width]`,
    normalised.

    Args:
        source: as `load_model` takes it.

    Raises:
        UserError: there is no such folder, or it describes no transforms.
    """
    folder = local_folder(source)
    config = read_config(folder)
    with torch.device("meta"):  # the normalisation may depend on the model's options
        model = _untrained(config, folder)
    try:
        images = {role: ImageTransform.from_config(config["views"][role]) for role in ROLES}
    except (KeyError, TypeError, ValueError) as error:
        message = f"{folder / 'config.json'} does not describe both roles' views."
        raise UserError(message, "Export it again.") from error
    _normalised(model, config, folder)
    return {role: RoleTransform(image, model.mean, model.std) for role, image in images.items()}


def local_folder(source: str | os.PathLike[str]) -> Path:
    """Return the folder of a model on this machine.

    Args:
        source: the name of a model that comes with the package, a folder, or `hf-hub:user/name`, also with
            `@revision`, which is downloaded on first use.

    Raises:
        UserError: there is no such folder, or it cannot be fetched.
    """
    if packaged := packaged_folder(source):
        return packaged
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        return _fetch(source.removeprefix(HUB_PREFIX))
    folder = Path(source).expanduser()
    if not folder.is_dir():
        message = f"There is no folder {folder}."
        raise UserError(message, f"A model on the Hugging Face Hub is named {HUB_PREFIX}user/name.")
    return folder


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a run folder or an exported one, which names at least the model's method.

    Raises:
        UserError: there is no such file, or it describes no model.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} holds no config.json.", "Name a run folder, or one that geodtr export wrote.")
    config = read_json(file, "Copy or export it again.", object)
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("method"), str):
        message = f"{file} describes no model of geodtr_plugin."
        raise UserError(message, "Name a run folder, or one of geodtr export.")
    return config


def find_weights(folder: Path) -> Path:
    """Return the weights of a folder: the best ones of a run, else those after its last epoch, or those of an export.

    Raises:
        UserError: it holds none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    message = f"{folder} holds no weights (none of {', '.join(WEIGHTS)})."
    raise UserError(message, remedy_for(folder, "Name a run folder or a file."))


def _fetch(name: str) -> Path:
    """Return the folder in Hugging Face's cache with the files of `user/name` or `user/name@revision`."""
    repository, _, revision = name.partition("@")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        message = f"{HUB_PREFIX}{name} needs the package huggingface_hub:"
        raise UserError(message, "pip install huggingface_hub.") from error
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(HUB_FILES)))
    except HFValidationError as error:
        message = f"{name!r} is no name on the Hugging Face Hub."
        raise UserError(message, f"Write {HUB_PREFIX}user/name.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        message = f"There is no {name} on the Hugging Face Hub that you may read."
        raise UserError(message, "Check the name; log in for a private one.") from error
    except Exception as error:  # no network has a dozen types, which differ between versions of huggingface_hub
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"{name} could not be fetched from the Hugging Face Hub: {reason}.",
            f"Without a network, download {' and '.join(HUB_FILES)} where there is one, and name the folder that holds "
            "them.",
        ) from error


def _untrained(config: Mapping[str, Any], folder: Path) -> TwoTower:
    """Build the model that a config.json describes, without ImageNet's weights, which would be replaced anyhow.

    Raises:
        UserError: the method or an option is not known, or they do not go together.
    """
    method = config["model"]["method"]
    if method not in METHODS:
        run = config.get("run")
        modules = run.get("imports") if isinstance(run, dict) else ()
        modules = modules if isinstance(modules, list) else ()
        remedy = "If it is one of your own, name its module with --import."
        if modules:
            words = " ".join(f"--import {module}" for module in modules)
            remedy = f"The run imported it from a module of its own: add {words}, or import that in Python before."
        raise UnknownNameError("method", method, METHODS, remedy)
    try:
        return create_model(**{**config["model"], "pretrained": False})
    except UserError:
        raise
    except Exception as error:  # of numbers that no network has, each layer and torch raise types of their own
        reason = str(error).strip().split("\n")[0].rstrip(".")
        message = f"{folder / 'config.json'} describes a model that cannot be built ({type(error).__name__}: {reason})."
        raise DamagedFileError(message, "Copy or export it again.") from error


def _check_names(source: str, tensors: Mapping[str, Tensor], names: Mapping[str, Any]) -> None:
    missing, unknown = sorted(set(names) - set(tensors)), sorted(set(tensors) - set(names))
    if missing or unknown:
        raise UserError(
            f"The weights of {source} do not fit the model. Missing: {examples(missing)}. Not known to the model: "
            f"{examples(unknown)}.",
            "Check --backbone, --polar, the image sizes and the model's options against those of the checkpoint.",
        )


def _fill(model: TwoTower, tensors: Mapping[str, Tensor]) -> TwoTower:
    state = model.state_dict()
    differing = [
        f"{key} is {tuple(tensor.shape)} there and {tuple(state[key].shape)} here"
        for key, tensor in tensors.items()
        if tensor.shape != state[key].shape
    ]
    if differing:
        raise UserError(f"The weights have other shapes than the model: {examples(differing)}.")
    model.load_state_dict({**state, **tensors})
    return model
