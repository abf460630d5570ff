"""The state of a training run in one file: everything that a run needs to go on as if it had not stopped."""

from __future__ import annotations

import os
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from ..utils.distributed import gather_objects, is_main_process, rank, world_size
from ..utils.errors import UserError
from ..utils.files import write_torch
from ..utils.seed import rng_state, set_rng_state

FORMAT = 3  # raised when an older reader would misread the file
READABLE = (2, FORMAT)
GROUPS = ("models", "optimizers", "lr_schedulers", "loss_funcs", "mining_funcs")  # the trainer's dicts with state
SINGLE_PARTS = ("batch_transform", "sampler", "bank", "average")
SETTINGS = ("seed", "batch_size", "iterations_per_epoch")  # what the order of the batches follows from


class CheckpointError(UserError):
    """A training state that is missing, damaged, or made by another kind of run."""


def save_training_state(path: str | os.PathLike[str], trainer: Any, epoch: int, extra: Any = None) -> None:
    """Write the state of `trainer` at the end of `epoch` or in the one after, and note it as `trainer.last_checkpoint`.

    The file holds models, optimizers, schedulers, losses and miners with a state, a batch transform with a state
    (generators of its own through `get_extra_state`), a sampler and an embedding bank with a state, `trainer.best`,
    the settings that the order of the batches follows from, and the states of the random number generators. It is
    written whole or not at all.

    Call it last in a hook: an evaluation draws random numbers too, and a resumed run does not repeat it.

    Args:
        path: the file.
        trainer: a `CrossViewTrainer`, or any trainer of pytorch-metric-learning.
        epoch: the last epoch that is complete. Where `trainer.epoch` is later, the file says how far that one has come;
            the trainer must then stand between two steps, as after `trainers.epoch_loop.Stopped`.
        extra: anything to keep beside it, for instance the recipe: tensors, numbers, text, lists and dicts.

    Raises:
        TypeError: if something is to be stored that cannot be loaded again without running code from the file.
    """
    state = {
        "format": FORMAT,
        "epoch": epoch,
        "position": trainer.position() if getattr(trainer, "epoch", 0) > epoch else None,
        "states": {name: part.state_dict() for name, part in _parts(trainer)},
        "kinds": {name: type(part).__name__ for name, part in _parts(trainer)},
        "settings": _settings(trainer),
        "best": getattr(trainer, "best", None),
        "rng": gather_objects(rng_state()),  # of every process
        "extra": extra,
    }
    if is_main_process():
        write_torch(path, _plain(state, "state"))
    trainer.last_checkpoint = Path(path)


def read_training_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of `save_training_state`, tensors on the CPU. No code in the file is run.

    Returns:
        Its entries, among them `epoch`, `position` in the next one or None, `best` and `extra`.

    Raises:
        CheckpointError: if there is no such file, or it is damaged or something else.
    """
    try:
        with open(path, "rb") as file:
            state = _load(file, path)
    except FileNotFoundError:
        raise CheckpointError(f"There is no training state at {path}.", "Check the path of the run.") from None
    except OSError as error:
        raise CheckpointError(f"The training state {path} cannot be read: {error.strerror}.") from error
    if not isinstance(state, dict) or state.get("format") not in READABLE:
        raise CheckpointError(
            f"{path} is no training state of this version of geodtr_plugin.",
            "To start from weights alone, give them as initial weights of a new run.",
        )
    return state


def load_training_state(path: str | os.PathLike[str], trainer: Any) -> dict[str, Any]:
    """Put the state in `path` into `trainer`, which was built with the settings of the run that wrote it.

    Go on with `trainer.train(state["epoch"] + 1, num_epochs)`, which begins within that epoch if the state lies there:
    on the CPU the result equals that of a run without interruption bit for bit. Call this last, as whatever draws
    random numbers afterwards moves the generators on.

    Args:
        path: the file.
        trainer: its models, optimizers and so on are filled in place.

    Returns:
        What `read_training_state` returns.

    Raises:
        CheckpointError: also if the state comes from another model, recipe, seed or batch size.
    """
    state = read_training_state(path)
    parts = dict(_parts(trainer))
    _check_fit(path, state, trainer, parts)
    for name, part in parts.items():
        try:
            part.load_state_dict(state["states"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise _misfit(path, f"{name} does not fit ({reason})") from error
    trainer.epoch, trainer.resume_at = state["epoch"], state.get("position")
    trainer.best = state["best"]
    trainer.last_checkpoint = Path(path)
    set_rng_state(state["rng"][rank()])
    return state


def unwrapped(module: Any) -> Any:
    """Return the module inside a wrapper for several devices, such as DDP; a plain module as it is."""
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    return module.module if isinstance(module, parallel) else module


def _load(file: BinaryIO, path: str | os.PathLike[str]) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()  # torch itself does not compare the checksums that it writes
            # nor does it mind an entry that calls itself a folder: its tensor stays whatever memory held before
            marked = [entry.filename for entry in archive.infolist() if entry.external_attr]
        if damaged is not None or marked:
            raise zipfile.BadZipFile(f"checksum or kind of {damaged or marked[0]}")
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever comes up when damaged bytes are read as an archive
        raise CheckpointError(
            f"The training state {path} is damaged, or no training state.",
            "Resume from another one, or start a new run.",
        ) from error


def _parts(trainer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a trainer that have a state, with their names, models first."""
    for group in GROUPS:
        for name, part in (getattr(trainer, group, None) or {}).items():
            if hasattr(part, "state_dict"):
                yield f"{group}.{name}", unwrapped(part)
    for name in SINGLE_PARTS:
        part = getattr(trainer, name, None)
        if hasattr(part, "state_dict"):
            yield name, part


def _settings(trainer: Any) -> dict[str, Any]:
    settings = {name: getattr(trainer, name, None) for name in SETTINGS}
    return {**settings, "pairs": len(trainer.dataset), "processes": world_size()}


def _check_fit(path: str | os.PathLike[str], state: dict[str, Any], trainer: Any, parts: dict[str, Any]) -> None:
    kinds = {name: type(part).__name__ for name, part in parts.items()}
    for name in sorted(kinds.keys() | state["kinds"].keys()):
        saved, wanted = state["kinds"].get(name, "nothing"), kinds.get(name, "nothing")
        if saved != wanted:
            raise _misfit(path, f"it holds {saved} as {name}, this run has {wanted}")
    for name, wanted in _settings(trainer).items():
        saved = state["settings"].get(name)
        if wanted is not None and saved != wanted:  # iterations_per_epoch is unset until the first epoch
            raise _misfit(path, f"it was trained with {name} {saved}, this run has {wanted}")


def _misfit(path: str | os.PathLike[str], reason: str) -> CheckpointError:
    return CheckpointError(
        f"The training state {path} does not belong to this run: {reason}.",
        "Resume with the recipe that it was made with, or start a new run.",
    )


def _plain(value: Any, where: str) -> Any:
    """Return a value rebuilt of types that `weights_only` loading accepts. Raises TypeError where it cannot be."""
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, Mapping):
        kind: Any = type(value) if type(value) in (OrderedDict, Counter) else dict  # the kinds that load again
        copy: Any = kind({_plain(key, where): _plain(item, f"{where}[{key!r}]") for key, item in value.items()})
        if hasattr(value, "_metadata"):  # the versions of the modules of a state dict
            copy._metadata = value._metadata
        return copy
    if isinstance(value, (list, tuple)):
        items = [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(
        f"{where} is a {type(value).__name__}, and a training state holds tensors, numbers, text, lists and dicts only."
    )
