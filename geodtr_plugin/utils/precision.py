"""In which precision a network runs."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

PRECISIONS = ("fp32", "bf16")


def check_precision(precision: str) -> str:
    """Return the precision. Raises ValueError for one that is none of PRECISIONS."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
    return precision


def autocast(precision: str, device: torch.device | str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a network runs: bfloat16 autocast, or none."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def full_precision(device: torch.device | str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which autocast changes nothing; a device without autocast, as "meta", needs none."""
    kind = torch.device(device).type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()


def at_least_float32(x: Tensor) -> Tensor:
    """Return a half-precision tensor `[...]` as float32, others as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
