"""Reading one file of weights, and saying what a file is that holds none."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import DamagedFileError, UserError
from .tensorflow import as_tensors

WRAPPERS = ("model_state_dict", "state_dict", "model")  # keys under which training scripts store a state dict
FETCH_AGAIN = "Copy or download it again."
STATE_DICT = "Where it was made, save the state dict alone: torch.save(model.state_dict(), FILE)."
AS_NPZ = "Where TensorFlow is at hand, write its variables to an .npz file, as the guide to models of one's own shows."
TENSORFLOW = (".index", ".meta", ".data-00000-of-00001")  # of the files of a checkpoint of its first version
TEXTS = {  # how files begin that came in place of weights
    b"version https://git-lfs": ("a pointer of git LFS, not the weights themselves", "Fetch them: git lfs pull."),
    b"<!doctype html": ("a web page, not weights", "Download the file itself: open the address in a browser."),
}
TEXTS[b"<html"] = TEXTS[b"<!doctype html"]


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the state dict in a .safetensors file or a checkpoint of torch.save, or an .npz file's arrays, on the CPU.

    Nothing but tensors and plain containers is unpickled: objects of other classes, such as the options or numpy's
    numbers that training scripts keep beside the tensors, are passed over, and no code of theirs is run.

    Raises:
        UserError: there is no such file, it is damaged or something else, or it holds no tensors.
    """
    path = Path(path)
    if path.suffix in TENSORFLOW or Path(f"{path}.index").is_file():
        raise UserError(f"{path} is a checkpoint of TensorFlow, which is not needed here and not read.", AS_NPZ)
    if not path.is_file():
        raise UserError(f"There is no weights file {path}.")
    try:
        with path.open("rb") as stream:
            begin = stream.read(512)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    _check_begin(path, begin)
    if _is_npz(path):
        return _load_npz(path)
    is_safetensors = begin[8:9] == b"{"  # after the length of its header; neither format of torch has that there
    is_torch = begin.startswith((b"PK\x03\x04", b"\x80"))
    try:
        if is_safetensors:
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = _load_torch(path)
    except Exception as error:  # safetensors and torch raise a dozen types for a file that is cut off or no checkpoint
        if not is_safetensors and not is_torch:
            raise UserError(f"{path} is neither a .safetensors file nor a checkpoint of torch.save.") from error
        if not is_safetensors and (isinstance(error, pickle.UnpicklingError) or zipfile.is_zipfile(path)):
            raise UserError(f"{path} is no checkpoint of tensors that can be read safely.", STATE_DICT) from error
        raise DamagedFileError(f"{path} is damaged or cut short.", FETCH_AGAIN) from error
    return _tensors_of(content, str(path))


def state_dict_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of the state dict in a checkpoint, under the names that the model itself gives them.

    Wrappers are taken off: `model_state_dict`, `state_dict` or `model` around it, `module.` before its keys (parallel
    training) and `_orig_mod.` within them (torch.compile). Of a checkpoint that holds the state dicts of several parts,
    names begin with that of the part.
    """
    for wrapper in WRAPPERS:
        if isinstance(inner := checkpoint.get(wrapper), Mapping) and inner:
            checkpoint = inner
    if tensors := _named(checkpoint):
        return tensors
    parts = {part: _named(content) for part, content in checkpoint.items() if isinstance(content, Mapping)}
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def _named(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    tensors = {str(key): value for key, value in mapping.items() if isinstance(value, Tensor)}
    return {key.replace("_orig_mod.", "").removeprefix("module."): value for key, value in tensors.items()}


def examples(names: list[str], most: int = 5) -> str:
    """Return the first of many names, and how many more there are; "none" if there are none."""
    first = ", ".join(names[:most]) or "none"
    return first if len(names) <= most else f"{first} and {len(names) - most} more"


class _PassedOver(dict):
    """Stands for an object of a class that is not known to be safe; empty, whatever the file says is in it."""

    __hash__ = object.__hash__  # type: ignore[assignment]  # it may be the key of a dict

    def __init__(self, *args: Any):
        super().__init__()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _check_begin(path: Path, begin: bytes) -> None:
    if not begin.strip(b"\0"):
        raise UserError(f"{path} is {'full of zeros' if begin else 'empty'}: a copy that did not finish.", FETCH_AGAIN)
    for text, (what, remedy) in TEXTS.items():
        if begin.lstrip().lower().startswith(text):
            raise UserError(f"{path} is {what}.", remedy)


def _is_npz(path: Path) -> bool:
    """Tell whether a file is an archive of numpy's arrays."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def _load_npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return as_tensors(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DamagedFileError(f"{path} is damaged or cut short.", FETCH_AGAIN) from error
    except ValueError as error:  # numpy's for pickled objects, and for a header that is none
        raise UserError(f"{path} holds more than arrays of numbers ({error}).", AS_NPZ) from error


def _load_torch(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    else:
        names = list(_names_in_old_format(path))
    passed_over: list[Any] = [(_PassedOver, name) for name in names]
    with torch.serialization.safe_globals(passed_over):  # torch's own safe ones go first; it still refuses os and sys
        with path.open("rb") as stream:  # by its path, torch would go by the suffix, which may be a wrong one
            return torch.load(stream, map_location="cpu", weights_only=True)


def _names_in_old_format(path: Path) -> Iterator[str]:
    """Yield the classes that a checkpoint of before torch 1.6 names: four pickles, of which none is executed."""
    with path.open("rb") as stream:
        for _ in range(4):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    yield str(argument).replace(" ", ".")


def _tensors_of(content: Any, path: str) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and {"format", "states", "kinds"} <= set(content):
        raise UserError(
            f"{path} is the training state of a run of geodtr_plugin, which only --resume takes.",
            "Name the run's folder, or the last.safetensors in it.",
        )
    if isinstance(content, _PassedOver):
        raise UserError(f"{path} is a whole pickled object, whose code is not run, not a state dict.", STATE_DICT)
    tensors = state_dict_of(content) if isinstance(content, Mapping) else {}
    if not tensors:
        held = examples([*map(str, content)]) if isinstance(content, Mapping) else f"a {type(content).__name__}"
        message = f"{path} holds no tensors by name, at its top or under {', '.join(WRAPPERS)}. It holds: {held}."
        raise UserError(message, STATE_DICT)
    return tensors
