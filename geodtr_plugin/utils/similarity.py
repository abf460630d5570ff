"""Cosine similarities whose rounding is known: fast ones in float32, exact ones in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from .errors import UserError

NO_DIRECTION = 1e-12  # a vector shorter than this has no direction: its similarity to everything is 0
TOO_LONG = 1e30  # squares of longer ones leave float32
FLOAT32_UNIT = 2.0**-24  # relative error of one float32 operation


class NonFiniteEmbeddingsError(UserError, ValueError):
    """Embeddings contain NaN or infinity, so that no ranking of them means anything."""


class Vectors:
    """Embeddings where they are, with their norms; converted and moved to `device` block by block.

    Args:
        data: `[N, D]`, tensor or array of any floating type; never changed.
        name: what to call them in errors ("query").
        device: where blocks are worked on.
        block: number of rows that are converted at once.

    Raises:
        NonFiniteEmbeddingsError: rows with NaN, infinity, or a norm above 1e30.
    """

    def __init__(self, data: Tensor | np.ndarray, name: str, device: torch.device, block: int):
        self.data = torch.as_tensor(data).detach()
        if self.data.ndim != 2 or 0 in self.data.shape:
            raise ValueError(f"{name} embeddings must be [N, D] with N, D > 0, not {list(self.data.shape)}")
        if not self.data.is_floating_point():
            self.data = self.data.double()
        self.device = device
        norms = torch.cat([self._norms(slice(i, i + block)) for i in range(0, len(self.data), block)])
        _require_finite(norms, name)
        self.inverse_norms = torch.where(norms < NO_DIRECTION, 0.0, 1.0 / norms)  # float64 [N]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def size(self) -> int:
        """D."""
        return self.data.shape[1]

    def raw(self, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """Rows as they came, not normalised, `[n, D]`; may share memory with the caller's embeddings."""
        if isinstance(rows, Tensor):
            rows = rows.to(self.data.device)
        return self.data[rows].to(self.device, dtype)

    def unit32(self, rows: slice) -> Tensor:
        """Rows of unit norm, normalised in float64 and rounded once, float32 `[n, D]`."""
        return (self.raw(rows, torch.float64) * self.inverse_norms[rows, None]).float()

    def _norms(self, rows: slice) -> Tensor:
        return torch.linalg.vector_norm(self.data[rows].to(self.device), dim=1, dtype=torch.float64)


def tile_similarities(unit_queries: Tensor, reference: Vectors, columns: slice) -> Tensor:
    """Cosine similarities in float32, within `float32_error(D)` of the exact ones. `[n, D]` -> `[n, columns]`."""
    tile = unit_queries @ reference.raw(columns, torch.float32).T
    return tile.mul_(reference.inverse_norms[columns].float())


def exact_similarities(query: Vectors, rows: Tensor, reference: Vectors, columns: slice) -> Tensor:
    """The same in float64, for chosen queries. -> `[rows, columns]`."""
    tile = query.raw(rows, torch.float64) @ reference.raw(columns, torch.float64).T
    return tile.mul_(query.inverse_norms[rows, None]).mul_(reference.inverse_norms[columns])


def pair_similarities(query: Vectors, rows: Tensor, reference: Vectors, columns: Tensor, block: int) -> Tensor:
    """Cosine similarities of listed pairs, float64 `[T]`, `block` pairs at a time."""
    parts = [torch.empty(0, dtype=torch.float64, device=query.device)]
    for start in range(0, len(rows), block):
        r, c = rows[start : start + block], columns[start : start + block]
        dots = (query.raw(r, torch.float64) * reference.raw(c, torch.float64)).sum(dim=1)
        parts.append(dots * query.inverse_norms[r] * reference.inverse_norms[c])
    return torch.cat(parts)


def float32_error(size: int) -> float:
    """Bound on the error of `tile_similarities` for vectors of `size` entries.

    A sum of D products errs by at most D units whatever its order; collapsed embeddings (all terms alike) come near
    that, so the usual square-root estimate would be too small. Eight more units for normalising and comparing.
    """
    return (size + 8) * FLOAT32_UNIT


@contextmanager
def plain_float32(device: torch.device) -> Iterator[None]:
    """Inside, float32 matrix products are float32: no autocast, no TF32 on GPUs, no bfloat16 on CPUs."""
    products = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    with ExitStack() as stack:
        if all(hasattr(owner, "fp32_precision") for owner in products):
            for owner in products:
                stack.callback(setattr, owner, "fp32_precision", owner.fp32_precision)
                owner.fp32_precision = "ieee"
        else:  # torch before 2.9 has one switch for all
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("highest")
        stack.enter_context(torch.autocast(device.type, enabled=False))
        yield


def _require_finite(norms: Tensor, name: str) -> None:
    bad = (~(norms < TOO_LONG)).nonzero()[:, 0].tolist()  # the negation catches NaN too
    if bad:
        rows = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise NonFiniteEmbeddingsError(
            f"{len(bad):,} of {len(norms):,} {name} embeddings are not finite, or longer than 1e30 (rows {rows}): the "
            "model diverged or its precision overflowed. Use an earlier checkpoint, or embed in fp32."
        )
