"""Exact ranks of N queries among N references, against the bare matrix product and PML's AccuracyCalculator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch import Tensor
from torch.nn.functional import normalize

from geodtr_plugin.evaluation import Truth, recall

from .bench import Bench
from .table import Row

CVUSA, CVACT_TEST = 8884, 92802  # pairs of the two test sets
DIMENSION = 3072  # entries of an embedding of GeoDTR+
BLOCK = 4096  # columns of the bare product that are made at once, as many as fit any machine


def measure(bench: Bench) -> Iterator[Row]:
    """Yield time and memory at the size of CVUSA, and the time at that of CVACT's test set."""
    pairs, dimension = bench.choose(miniature=(200, 32), small=(2000, 512), real=(CVUSA, DIMENSION))
    query, reference = embeddings(pairs, pairs, dimension, bench.device)
    size = f"{pairs:,} x {pairs:,} of {dimension:,}"
    works = {
        "ours": lambda: recall(query, reference), "product": lambda: bare_product(query, reference),
        "pml": lambda: calculator(query, reference),
    }  # fmt: skip
    times = bench.seconds(works, rounds=3)
    yield Row("evaluation: against the bare matrix product", size, times["ours"], times["product"])
    yield Row("evaluation: against PML's AccuracyCalculator", size, times["ours"], times["pml"])
    ours, peer = (
        bench.peak("evaluation", "one_call", pairs=pairs, dimension=dimension, whose=whose) for whose in CALLS
    )
    yield Row("evaluation: memory, against PML's", size, ours, peer, "B")
    difference = abs(calculator(query, reference) - recall(query, reference)["recall_at_1"])
    yield Row("evaluation: R@1, difference to PML's", size, difference, unit="")
    yield large(bench)


def large(bench: Bench) -> Row:
    """Measure at the size of CVACT's test set: on a CPU for some of the queries, times their share."""
    queries, references, dimension = bench.choose(
        miniature=(50, 400, 32), small=(256, 8000, 512), real=(2048, CVACT_TEST, DIMENSION),
        gpu=(CVACT_TEST, CVACT_TEST, DIMENSION),
    )  # fmt: skip
    query, reference = embeddings(queries, references, dimension, bench.device)
    truth = Truth.from_lists([[i] for i in range(queries)])
    works = {"ours": lambda: recall(query, reference, truth), "peer": lambda: bare_product(query, reference)}
    part = references / queries
    times = {name: seconds * part for name, seconds in bench.seconds(works, rounds=3).items()}
    note = "" if part == 1 else f"timed for {queries:,} queries, and taken {part:.3g} times"
    size = f"{references:,} x {references:,} of {dimension:,}"
    return Row("evaluation: CVACT's test set, bare product", size, **times, note=note)


def embeddings(queries: int, references: int, dimension: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return `[queries, D]` and `[references, D]`; about half of the queries are most similar to their reference.

    They are the same for the same numbers, on every device.
    """
    generator = torch.Generator().manual_seed(0)
    reference = normalize(torch.randn(references, dimension, generator=generator))
    noise = normalize(torch.randn(queries, dimension, generator=generator))
    likeness = 3.7 / dimension**0.5  # cosine; the best of thousands of chance reaches about as far
    return (likeness * reference[:queries] + noise).to(device), reference.to(device)


def bare_product(query: Tensor, reference: Tensor) -> None:
    """Compute all similarities of `[N, D]` and `[M, D]` in float32, in blocks that one buffer takes up."""
    out = query.new_empty(len(query) * min(BLOCK, len(reference)))
    for block in reference.split(BLOCK):
        torch.mm(query, block.T, out=out[: len(query) * len(block)].view(len(query), len(block)))


def calculator(query: Tensor, reference: Tensor) -> float:
    """Return PML's precision at 1, which is R@1 here, with the neighbours that one percent asks for."""
    labels, k = torch.arange(len(query)), max(1, len(reference) // 100)
    metric = AccuracyCalculator(include=("precision_at_1",), k=k, device=query.device)
    return metric.get_accuracy(query, labels, reference, labels.clone())["precision_at_1"]


CALLS = {"ours": recall, "peer": calculator}


def one_call(device: str, pairs: int, dimension: int, whose: str) -> Callable[[], object]:
    """Return a call whose memory is to be measured; libraries have made their own buffers before it."""
    CALLS[whose](*embeddings(64, 64, dimension, device))
    both = embeddings(pairs, pairs, dimension, device)
    return lambda: CALLS[whose](*both)
