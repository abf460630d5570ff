"""Which device to work on."""

from __future__ import annotations

import sys

import torch

from .distributed import launched, local_rank
from .errors import UserError


def choose_device(name: str) -> torch.device:
    """Return the device of a name; "auto" takes a GPU where there is one.

    Raises:
        UserError: the device cannot be used.
    """
    if name in ("auto", "cuda") and launched() and torch.cuda.is_available():
        name = f"cuda:{local_rank()}"
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"The device {name!r} cannot be used: {reason}.", "Try --device cpu.") from error
    return torch.device(name)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Return the most bytes so far that this process had in memory, and that torch had on a GPU; {} where unknown."""
    peaks = {}
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peaks["process"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.type == "cuda":
        peaks["GPU"] = torch.cuda.max_memory_allocated(device)
    return peaks
