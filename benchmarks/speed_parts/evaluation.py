"""Exact ranks of N queries among N references, against the matrix product, the authors' rule and PML's calculator."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch import Tensor
from torch.nn.functional import normalize

from geodtr_plugin.evaluation import Truth, recall

from .measure import Bench
from .rows import Row

CVUSA, CVACT_TEST = 8884, 92802  # pairs of the two test sets
DIMENSION = 3072  # entries of an embedding of GeoDTR+
PRODUCT_FLOOR, MEMORY_FLOOR = 1.25, 64 * 2**20  # times the product's time; bytes beside the embeddings
RULE_FLOOR, CALCULATOR_FLOOR, CALCULATOR_MEMORY = 8, 1, 0.1  # times as fast, twice; share of memory
BLOCK = 4096  # columns of the bare product that are made at once, as many as fit any machine
RULE_KS = (1, 5)  # the values of K that are timed, of all up to one percent


def measure(bench: Bench) -> Iterator[Row]:
    """All comparisons at the size of CVUSA, then the product again at that of CVACT's test set."""
    pairs, dimension = bench.choose(miniature=(200, 32), small=(2000, 512), real=(CVUSA, DIMENSION))
    query, reference = embeddings(pairs, pairs, dimension, bench.device)
    size = f"{pairs:,} x {pairs:,} of {dimension:,}"
    numbers = recall(query, reference)
    yield from against_product(bench, query, reference, size)
    extra = bench.peak("evaluation", "our_work", pairs=pairs, dimension=dimension)
    yield Row("evaluation: memory beside the embeddings", size, extra, unit="B", floor=MEMORY_FLOOR, rule="below")
    yield from against_calculator(bench, query, reference, numbers, extra, size)
    yield from against_rule(bench, query, reference, numbers, size)
    del query, reference
    yield from large(bench)


def embeddings(queries: int, references: int, dimension: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Query i resembles reference i, about half of them most; the same for the same numbers, on every device."""
    generator = torch.Generator().manual_seed(0)
    reference = normalize(torch.randn(references, dimension, generator=generator))
    noise = normalize(torch.randn(queries, dimension, generator=generator))
    likeness = 3.7 / dimension**0.5  # cosine; the best of thousands of chance reaches about as far
    return (likeness * reference[:queries] + noise).to(device), reference.to(device)


def against_product(bench: Bench, query: Tensor, reference: Tensor, size: str) -> Iterator[Row]:
    """What the ranks take beside the similarities themselves."""
    works = {"ours": lambda: recall(query, reference), "peer": lambda: bare_product(query, reference)}
    times = bench.seconds(works, rounds=3)
    yield Row("evaluation: against the bare matrix product", size, **times, floor=PRODUCT_FLOOR, rule="within")


def bare_product(query: Tensor, reference: Tensor) -> None:
    """All similarities in float32, in blocks that one buffer takes up."""
    out = query.new_empty(len(query) * min(BLOCK, len(reference)))
    for block in reference.split(BLOCK):
        torch.mm(query, block.T, out=out[: len(query) * len(block)].view(len(query), len(block)))


def against_calculator(
    bench: Bench, query: Tensor, reference: Tensor, numbers: dict[str, float], extra: int, size: str
) -> Iterator[Row]:
    """PML's calculator for precision at 1, with the neighbours that one percent asks for."""
    theirs = calculator(query, reference)
    works = {"ours": lambda: recall(query, reference), "peer": lambda: calculator(query, reference)}
    times = bench.seconds(works, rounds=3)
    yield Row("evaluation: against PML's AccuracyCalculator", size, **times, floor=CALCULATOR_FLOOR)
    memory = bench.peak("evaluation", "calculator_work", pairs=len(query), dimension=query.shape[1])
    yield Row("evaluation: memory, against PML's", size, extra, memory, "B", CALCULATOR_MEMORY, rule="within")
    apart = abs(theirs - numbers["recall_at_1"])
    yield Row("evaluation: R@1, difference to PML's", size, apart, unit="", floor=0, rule="below")


def calculator(query: Tensor, reference: Tensor) -> float:
    """Precision at 1, which is R@1 where every query has one reference."""
    labels, k = torch.arange(len(query)), max(1, len(reference) // 100)
    asked = AccuracyCalculator(include=("precision_at_1",), k=k, device=query.device)
    return asked.get_accuracy(query, labels, reference, labels.clone())["precision_at_1"]


def against_rule(
    bench: Bench, query: Tensor, reference: Tensor, numbers: dict[str, float], size: str
) -> Iterator[Row]:
    """The authors' rule: distances in float64, and a count of nearer references for every K up to one percent."""
    unit = [normalize(part.double()).cpu().numpy() for part in (query, reference)]
    distances: list[np.ndarray] = []
    product = bench.once(lambda: distances.append(2 - 2 * unit[1] @ unit[0].T))
    counted: list[float] = []
    loops = bench.once(lambda: counted.extend(hits(distances[0], k) for k in RULE_KS)) / len(RULE_KS)
    percent = max(1, len(reference) // 100)
    ours = bench.once(lambda: recall(query, reference))
    yield Row(
        "evaluation: against the authors' rule", size, ours, product + percent * loops, floor=RULE_FLOOR,
        note=f"the authors' loop timed for {len(RULE_KS)} values of K, and taken {percent} times",
    )  # fmt: skip
    apart = max(abs(share - numbers[f"recall_at_{k}"]) for share, k in zip(counted, RULE_KS))
    yield Row("evaluation: R@K, difference to the authors' rule", size, apart, unit="", floor=0, rule="below")


def hits(distances: np.ndarray, k: int) -> float:
    """Share of queries with fewer than k nearer references than their own, counted anew for each of them.

    As in the authors' code, a query is a column of the matrix.
    """
    columns = range(len(distances))
    return sum(int((distances[:, i] < distances[i, i]).sum() < k) for i in columns) / len(distances)


def large(bench: Bench) -> Iterator[Row]:
    """The size of CVACT's test set: on a CPU for some queries, and extrapolated."""
    queries, references, dimension = bench.choose(
        miniature=(50, 400, 32), small=(256, 8000, 512), real=(2048, CVACT_TEST, DIMENSION),
        gpu=(CVACT_TEST, CVACT_TEST, DIMENSION),
    )  # fmt: skip
    query, reference = embeddings(queries, references, dimension, bench.device)
    works = {"ours": lambda: ranks_of_all(query, reference), "peer": lambda: bare_product(query, reference)}
    part = references / queries
    times = {name: seconds * part for name, seconds in bench.seconds(works, rounds=3).items()}
    yield Row(
        "evaluation: CVACT's test set, bare product", f"{references:,} x {references:,} of {dimension:,}", **times,
        floor=PRODUCT_FLOOR, rule="within",
        note="" if part == 1 else f"timed for {queries:,} queries, and taken {part:.3g} times",
    )  # fmt: skip


def ranks_of_all(query: Tensor, reference: Tensor) -> dict[str, float]:
    """Query i is shown by reference i; there may be more references."""
    return recall(query, reference, Truth.from_lists([[i] for i in range(len(query))]))


def our_work(device: str, pairs: int, dimension: int) -> Callable[[], object]:
    """Ours, for its memory; libraries have made their own buffers before it."""
    recall(*embeddings(64, 64, dimension, device))
    own = embeddings(pairs, pairs, dimension, device)
    return lambda: recall(*own)


def calculator_work(device: str, pairs: int, dimension: int) -> Callable[[], object]:
    """PML's, likewise."""
    calculator(*embeddings(64, 64, dimension, device))
    own = embeddings(pairs, pairs, dimension, device)
    return lambda: calculator(*own)
