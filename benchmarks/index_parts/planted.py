"""Random vectors with planted neighbours, and what a search finds of them.

The vectors are random ones of unit length; those of a query's ten neighbours lie around it at planted angles, from 0.9
down to 0.5 in cosine, where random ones of 512 numbers hardly reach 0.2. So an exact search finds the ten that were
planted, and the recall of the approximate ones is what they lose.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from geodtr_plugin.search import VectorIndex

NEIGHBOURS = 10  # planted for each query
COSINES = np.linspace(0.9, 0.5, NEIGHBOURS)
_BLOCK = 8192  # rows that are made at once
_ASKED_ALONE = 4  # queries a round


def make_vectors(
    file: Path, count: int, size: int, queries: int, dtype: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Write vectors block by block; return queries `[Q, D]` and rows of their neighbours `[Q, 10]`, nearest first."""
    draw = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=(count, size))
    for start in range(0, count, _BLOCK):
        vectors[start : start + _BLOCK] = unit(draw, min(_BLOCK, count - start), size)
    asked = unit(draw, queries, size)
    planted = draw.permutation(count)[: queries * NEIGHBOURS].reshape(queries, NEIGHBOURS)
    for query, rows in zip(asked, planted):
        away = unit(draw, NEIGHBOURS, size)
        away -= (away @ query)[:, None] * query
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        vectors[rows] = COSINES[:, None] * query + np.sqrt(1 - COSINES**2)[:, None] * away
    vectors.flush()
    return asked, planted


def unit(draw: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Return random directions, float32 `[count, size]`."""
    rows = draw.standard_normal((count, size), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of the wanted rows `[Q, K]` that are among those that a search returned `[Q, k]`."""
    return float(np.mean([np.isin(right, some).mean() for right, some in zip(wanted, found)]))


def latencies(
    index: VectorIndex, queries: np.ndarray, k: int, rounds: int, nprobe: int | None = None
) -> tuple[float, float]:
    """Return seconds a query `[Q, D]`, searched one by one and all at once; medians of the rounds."""

    def timed(some: np.ndarray) -> float:
        start = time.perf_counter()
        index.search(some, k, nprobe=nprobe)
        return time.perf_counter() - start

    one = [timed(queries[i % len(queries)][None]) for i in range(_ASKED_ALONE * rounds)]
    many = [timed(queries) for _ in range(rounds)]
    return statistics.median(one), statistics.median(many) / len(queries)
