"""Cosine similarities whose rounding is known: fast ones in bfloat16 and float32, exact ones in float64."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import UserError

NO_DIRECTION = 1e-12  # a vector shorter than this has no direction: its similarity to everything is 0
TOO_LONG = 1e30  # squares of longer ones leave float32
FLOAT32_UNIT = 2.0**-24  # relative error of one float32 operation
BFLOAT16_UNIT = 2.0**-9  # the same of bfloat16
CACHED = 2**19  # bytes of float64 rows at once on a CPU: they stay in its cache
ON_GPU = 2**26  # and on a GPU, which wants much to do at once


class NonFiniteEmbeddingsError(UserError, ValueError):
    """Embeddings contain NaN or infinity, so that no ranking of them means anything."""


class Vectors:
    """Embeddings where they are, with their norms; converted and moved to `device` block by block.

    Args:
        data: `[N, D]`, tensor or array of any floating type; never changed.
        name: what to call them in errors ("query").
        device: where blocks are worked on.

    Raises:
        NonFiniteEmbeddingsError: rows with NaN, infinity, or a norm above 1e30.
    """

    def __init__(self, data: Tensor | np.ndarray, name: str, device: torch.device):
        self.data = torch.as_tensor(data).detach()
        if self.data.ndim != 2 or 0 in self.data.shape:
            raise ValueError(f"{name} embeddings must be [N, D] with N, D > 0, not {list(self.data.shape)}")
        if not self.data.is_floating_point():
            self.data = self.data.double()
        self.device = device
        self.buffers: dict[tuple[torch.dtype, torch.device], Tensor] = {}  # new memory takes as long as the work in it
        norms = torch.empty(len(self.data), dtype=torch.float64, device=device)
        for rows in self._blocks(slice(0, len(self.data))):
            torch.linalg.vector_norm(self._copied(self.data[rows], torch.float64), dim=1, out=norms[rows])
        _require_finite(norms, name)
        self.inverse_norms = torch.where(norms < NO_DIRECTION, 0.0, 1.0 / norms)  # float64 [N]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def size(self) -> int:
        """D."""
        return self.data.shape[1]

    @property
    def block(self) -> int:
        """Rows that are worked on in float64 at once."""
        return max(1, (CACHED if self.device.type == "cpu" else ON_GPU) // (8 * self.size))

    def raw(self, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """Rows as they came, not normalised, `[n, D]`; may share memory with the caller's embeddings."""
        if isinstance(rows, Tensor):
            rows = rows.to(self.data.device)
        return self.data[rows].to(self.device, dtype)

    def unit32(self, rows: slice) -> Tensor:
        """Rows of unit norm, float32 `[n, D]`; an entry errs by two roundings."""
        return self.raw(rows, torch.float32) * self.inverse_norms[rows, None].float()

    def unit16(self, rows: slice) -> Tensor:
        """The same in bfloat16, written over by the next call."""
        unit = self._buffer(torch.bfloat16, self.device, len(self.inverse_norms[rows]))
        for some in self._blocks(rows):
            block = self._copied(self.data[some], torch.float32).mul_(self.inverse_norms[some, None].float())
            unit[some.start - rows.start : some.stop - rows.start] = block
        return unit

    def chosen64(self, rows: Tensor) -> Tensor:
        """At most `block` rows as they came, float64 `[n, D]`, written over by the next call."""
        rows = rows.to(self.data.device)
        taken = self._buffer(self.data.dtype, self.data.device, len(rows))
        return self._copied(torch.index_select(self.data, 0, rows, out=taken), torch.float64)

    def _blocks(self, rows: slice) -> Iterator[slice]:
        stop = min(rows.stop, len(self.data))
        return (slice(first, min(first + self.block, stop)) for first in range(rows.start, stop, self.block))

    def _copied(self, block: Tensor, dtype: torch.dtype) -> Tensor:
        buffer = self._buffer(dtype, self.device, len(block))
        return block if block.data_ptr() == buffer.data_ptr() else buffer.copy_(block)

    def _buffer(self, dtype: torch.dtype, device: torch.device, count: int) -> Tensor:
        """Memory for so many rows, the same at every call."""
        kept = self.buffers.get((dtype, device))
        if kept is None or len(kept) < count:
            kept = self.buffers[dtype, device] = torch.empty(count, self.size, dtype=dtype, device=device)
        return kept[:count]


def tile_similarities(unit_queries: Tensor, reference: Vectors, columns: slice) -> Tensor:
    """Cosine similarities in float32, within `float32_error(D)` of the exact ones. `[n, D]` -> `[n, columns]`."""
    tile = unit_queries @ reference.raw(columns, torch.float32).T
    return tile.mul_(reference.inverse_norms[columns].float())


def coarse_similarities(unit_queries: Tensor, reference: Vectors, columns: slice) -> Tensor:
    """The same in bfloat16, of bfloat16 queries: within `bfloat16_error(D)` before the result itself is rounded."""
    return unit_queries @ reference.unit16(columns).T


def exact_similarities(query: Vectors, rows: Tensor, reference: Vectors, columns: slice) -> Tensor:
    """The same in float64, for chosen queries. -> `[rows, columns]`."""
    tile = query.raw(rows, torch.float64) @ reference.raw(columns, torch.float64).T
    return tile.mul_(query.inverse_norms[rows, None]).mul_(reference.inverse_norms[columns])


def pair_similarities(query: Vectors, rows: Tensor, reference: Vectors, columns: Tensor) -> Tensor:
    """Cosine similarities of listed pairs, float64 `[T]`, some pairs at a time."""
    found = torch.empty(len(rows), dtype=torch.float64, device=query.device)
    for r, c, some in zip(*(part.split(query.block) for part in (rows, columns, found))):
        left, right = query.chosen64(r), reference.chosen64(c)
        torch.sum(torch.mul(left, right, out=left), dim=1, out=some)
    return found.mul_(query.inverse_norms[rows]).mul_(reference.inverse_norms[columns])


def float32_error(size: int) -> float:
    """Bound on the error of `tile_similarities` for vectors of `size` entries.

    A sum of D products errs by at most D units whatever its order; collapsed embeddings (all terms alike) come near
    that, so the usual square-root estimate would be too small. Eight more units for normalising (two for each of both
    vectors), rounding the threshold and comparing.
    """
    return (size + 8) * FLOAT32_UNIT


def bfloat16_error(size: int) -> float:
    """Bound on the error of `coarse_similarities` before rounding: that of both unit vectors, and of summing up.

    The sum is float32, but processors add products in pairs, and may round each sum of two: twice the units.
    """
    return 2 * BFLOAT16_UNIT + BFLOAT16_UNIT**2 + 2 * float32_error(size)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are much faster here than of float32; only CPUs are asked."""
    return device.type == "cpu" and _faster_in_bfloat16(torch.get_num_threads())


@lru_cache
def _faster_in_bfloat16(threads: int) -> bool:
    # tried, not looked up: it takes the instructions, and a library that uses them
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(256, 512, dtype=dtype)
        seconds[dtype] = min(_seconds_of_product(x) for _ in range(5))
    return seconds[torch.bfloat16] < seconds[torch.float32] / 1.5


def _seconds_of_product(x: Tensor) -> float:
    start = time.perf_counter()
    x @ x.T
    return time.perf_counter() - start


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
