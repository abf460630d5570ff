"""Writing files so that a reader, or a run that is resumed after a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from . import leftovers
from .errors import UserError, no_room
from .outputs import cannot_write, output_path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; rename it to `path` once the block has ended well.

    The folder is made if it is missing, and what killed processes left of earlier writings of `path` is removed. When
    the block raises, `path` is left as it was. The block may make a folder instead of a file; then `path` must not
    exist, or be an empty folder, which is filled. Where `path` is a link, the file that it leads to is replaced.

    Args:
        path: the final name.

    Raises:
        UserError: the disk has no room, or `path` is a device or a pipe or may not be written.

    Yields:
        The path to write to. It has the suffix of `path`, for writers that go by it.
    """
    name, path = path, output_path(path)
    # an empty folder may be a mount, or the current one: it is filled, and not replaced
    beside = path / path.name if path.is_dir() else path
    # tempfile would make the file private to its owner; a plain open() follows the umask like any other result
    temporary = leftovers.temporary_name(beside)
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        leftovers.sweep(beside.parent, beside)
        yield temporary
        _flush_to_disk(temporary)
        if beside != path and temporary.is_dir():
            if os.listdir(path) != [temporary.name]:
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))
            for part in sorted(temporary.iterdir()):
                os.replace(part, path / part.name)
        else:
            os.replace(temporary, path)
    except Exception as error:
        told = isinstance(error, UserError) and str(temporary) not in str(error)
        if (words := no_room(error)) and not told:
            message = f"{name} cannot be written: {words}."
            raise UserError(message, "Free some space; what was there before is as it was.") from error
        if isinstance(error, OSError) and isinstance(error.filename, (str, os.PathLike)):
            refused = Path(error.filename)
            if refused in (path, *path.parents) or temporary in (refused, *refused.parents):
                raise cannot_write(name, error) from error
        raise
    finally:
        leftovers.remove(temporary)
    _flush_to_disk(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 under `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        # names of files may hold bytes that are no UTF-8; as escapes they are right in JSON, and legible elsewhere
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON under `path`, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_torch(path: str | os.PathLike[str], value: Any) -> None:
    """Write `torch.save(value)` under `path`, whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:  # whose errors say what is wrong, unlike torch's
        torch.save(value, file)


def write_safetensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named tensors, of any shape, device and layout, as a safetensors file, whole or not at all.

    Args:
        path: the final name.
        tensors: `[...]`, by name. Names that share memory are written as separate copies.
        metadata: text to put in the header of the file.
    """
    from safetensors.torch import save

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:  # not save_file, whose files only their owner can read
        temporary.write_bytes(save(copies, metadata=dict(metadata or {})))


def _flush_to_disk(path: Path) -> None:
    if path.is_dir() and os.name != "posix":  # a folder cannot be opened there, and a rename is durable without it
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
