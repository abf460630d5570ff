"""Where a model's folder lies: on the disk, or on the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path

from ..utils.errors import UserError

PREFIX = "hf-hub:"  # as timm writes it
WANTED = ("config.json", "model.safetensors")  # what a model is loaded from; the rest of a repository stays where it is


def local_folder(source: str | os.PathLike[str]) -> Path:
    """The folder of a model on this machine.

    Args:
        source: a folder, or `hf-hub:user/name`, also with `@revision`, which is downloaded on first use.

    Raises:
        UserError: there is no such folder, or it cannot be fetched.
    """
    if isinstance(source, str) and source.startswith(PREFIX):
        return fetch(source.removeprefix(PREFIX))
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. A model on the Hugging Face Hub is named {PREFIX}user/name.")
    return folder


def fetch(name: str) -> Path:
    """The files of `user/name` or `user/name@revision` on the Hub, in Hugging Face's cache."""
    repository, _, revision = name.partition("@")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise UserError(f"{PREFIX}{name} needs the package huggingface_hub: pip install huggingface_hub.") from error
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(WANTED)))
    except HFValidationError as error:
        raise UserError(f"{name!r} is no name on the Hugging Face Hub. Write {PREFIX}user/name.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UserError(
            f"There is no {name} on the Hugging Face Hub that you may read. Check the name; log in for a private one."
        ) from error
    except Exception as error:  # no network has a dozen types, which differ between versions of huggingface_hub
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"{name} could not be fetched from the Hugging Face Hub: {reason}. Without a network, download {WANTED[0]} "
            f"and {WANTED[1]} where there is one, and name the folder that holds them."
        ) from error
