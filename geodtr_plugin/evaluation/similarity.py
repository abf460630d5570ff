"""Cosine similarities of many vectors: of pairs in float64, of tiles in any precision with a bound on the error."""

from __future__ import annotations

import timeit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..utils.errors import UserError

NO_DIRECTION = 1e-12  # a vector shorter than this has no direction: its similarity to everything is 0
TOO_LONG = 1e30  # squares of longer ones leave float32
BLOCK_BYTES = {"cpu": 2**20, "cuda": 2**24}  # of float64 rows at once: what a cache holds; what keeps a GPU busy


class NonFiniteEmbeddingsError(UserError, ValueError):
    """Embeddings contain NaN or infinity, so that no ranking of them means anything."""


class Vectors:
    """Embeddings where they are, with their norms; converted and moved to a device block by block.

    Args:
        data: `[N, D]`, tensor or array of any floating type, also a memory map; never changed.
        name: what to call them in errors ("query").
        device: where blocks are worked on.

    Raises:
        NonFiniteEmbeddingsError: a row has NaN, infinity, or a norm above 1e30.
        ValueError: the data are not `[N, D]`, or empty.
    """

    def __init__(self, data: Tensor | np.ndarray, name: str, device: torch.device):
        self.data, self.device = torch.as_tensor(data).detach(), device
        if self.data.ndim != 2 or 0 in self.data.shape:
            raise ValueError(f"{name} embeddings must be [N, D] with N, D > 0, not {list(self.data.shape)}")
        if not self.data.is_floating_point():
            self.data = self.data.double()
        # in one piece: small results kept between large buffers would break up the heap, and memory would grow with N
        norms = torch.empty(len(self.data), dtype=torch.float64, device=device)
        for part, rows in zip(norms.split(self.block), self.data.split(self.block)):
            torch.linalg.vector_norm(rows.to(device), dim=1, dtype=torch.float64, out=part)
        self.longest = norms.max().item()
        if not self.longest < TOO_LONG:  # the negation catches NaN too
            raise _not_finite(norms, name)
        self.inverse_norms = torch.where(norms < NO_DIRECTION, 0.0, 1.0 / norms)  # float64 [N]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def size(self) -> int:
        """Entries of a vector, D."""
        return self.data.shape[1]

    @property
    def copied(self) -> bool:
        """Whether float32 rows on the device have to be made first."""
        return self.data.dtype != torch.float32 or self.data.device.type != self.device.type

    @property
    def block(self) -> int:
        """Rows that are worked on at once in float64."""
        return max(1, BLOCK_BYTES.get(self.device.type, BLOCK_BYTES["cuda"]) // (8 * self.size))

    def rows(self, rows: slice | Tensor, dtype: torch.dtype) -> Tensor:
        """Return rows `[n, D]` on the device as they came, not normalised; they may be the caller's own memory."""
        return self.data[rows if isinstance(rows, slice) else rows.to(self.data.device)].to(self.device, dtype)

    def unit_rows(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return rows of unit norm, `[n, D]` on the device; an entry errs by two roundings, in float32 at least."""
        wide = torch.promote_types(dtype, torch.float32)
        return (self.rows(rows, wide) * self.inverse_norms[rows, None].to(wide)).to(dtype)


def error_bound(dtype: torch.dtype, size: int, near: Tensor) -> Tensor:
    """Bound the error of cosines computed as products of unit rows of `dtype`, where these are `near` a value.

    A sum of D products errs by at most D units whatever its order; collapsed embeddings (all terms alike) come near
    that, so the usual square-root estimate would be too small. Eight more units are for normalising (two for each of
    both vectors), rounding the threshold and comparing. In bfloat16 both vectors are rounded, and the product; its sum
    is float32, but processors may round each sum of two products, which doubles the units.

    Args:
        dtype: of the unit rows and their product; float64 is exact by definition.
        size: entries of a vector, D.
        near: cosines, float64 `[...]`.

    Returns:
        float64 `[...]`.
    """
    summing = (size + 8) * 2.0**-24
    if dtype == torch.float64:
        return torch.zeros_like(near)
    if dtype == torch.float32:
        return torch.full_like(near, summing)
    unit = 2.0**-8
    return (2 * unit + unit**2 + 2 * summing) * (1 + unit) + unit * near.abs()


def bfloat16_pays(device: torch.device) -> bool:
    """Tell whether products in bfloat16 are much faster than in float32 on a CPU; GPUs are not asked."""
    return device.type == "cpu" and _faster_in_bfloat16(torch.get_num_threads())


@lru_cache
def _faster_in_bfloat16(threads: int) -> bool:
    # tried, not looked up: it takes the instructions, and a library that uses them
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(256, 512, dtype=dtype)
        seconds[dtype] = min(timeit.repeat(lambda: x @ x.T, number=1, repeat=5))  # noqa: B023
    return seconds[torch.bfloat16] < seconds[torch.float32] / 1.5


def pair_similarities(query: Vectors, rows: Tensor, reference: Vectors, columns: Tensor) -> Tensor:
    """Return the float64 cosines `[T]` of query `rows[t]` with reference `columns[t]`, int64 `[T]` each."""
    products = torch.empty(len(rows), dtype=torch.float64, device=query.device)
    parts = (numbers.split(query.block) for numbers in (products, rows, columns))
    for part, some, others in zip(*parts):
        terms = query.rows(some, torch.float64).mul_(reference.rows(others, torch.float64))
        torch.sum(terms, dim=1, out=part)
    return products * query.inverse_norms[rows] * reference.inverse_norms[columns]


@contextmanager
def plain_float32(device: torch.device) -> Iterator[None]:
    """Make float32 matrix products float32 within the block: no autocast, no TF32 on GPUs, no bfloat16 on CPUs."""
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


def _not_finite(norms: Tensor, name: str) -> NonFiniteEmbeddingsError:
    bad = (~(norms < TOO_LONG)).nonzero()[:, 0].tolist()
    rows = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
    return NonFiniteEmbeddingsError(
        f"{len(bad):,} of {len(norms):,} {name} embeddings are not finite, or longer than 1e30 (rows {rows}): the "
        "model diverged or its precision overflowed.",
        "Use an earlier checkpoint, or embed in fp32.",
    )
