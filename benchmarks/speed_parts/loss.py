"""The loss, forward and backward in both directions, against PML's TripletMarginLoss over all triplets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from pytorch_metric_learning.distances import DotProductSimilarity
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor
from torch.nn.functional import normalize

from geodtr_plugin.losses import SoftMarginTripletLoss

from .bench import Bench
from .table import Row

ALPHA = 10.0
DIMENSION = 384  # entries of an embedding: few, so that the terms are measured, and not the product of the embeddings


def measure(bench: Bench) -> Iterator[Row]:
    """Yield time and difference for several numbers of pairs, and memory for the largest."""
    for pairs in bench.choose(miniature=(8, 16), small=(64, 256), real=(64, 256, 1024, 2048)):
        size = f"{pairs:,} pairs of {DIMENSION}"
        batch = embeddings(pairs, bench.device)
        works = {name: lambda loss=loss, batch=batch: step(loss, *batch) for name, loss in LOSSES.items()}
        times = bench.seconds(works, rounds=max(5, min(51, 5000 // pairs)))
        yield Row("loss: forward and backward, both directions", size, **times)
        ours, peer = (step(loss, *batch) for loss in LOSSES.values())
        difference = max(float((a - b).norm() / b.norm()) for a, b in zip(ours, peer))
        yield Row("loss: value and gradient, relative difference", size, difference, unit="")
    largest = bench.choose(miniature=64, small=1024, real=2048)
    ours, peer = (bench.peak("loss", "one_step", pairs=largest, whose=whose) for whose in LOSSES)
    yield Row("loss: peak of memory", f"{largest:,} pairs", ours, peer, "B")


def embeddings(pairs: int, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries and references that resemble each other, `[pairs, D]` each, and places `[pairs]`."""
    query = normalize(torch.randn(pairs, DIMENSION, device=device))
    reference = normalize(query + 2 / DIMENSION**0.5 * torch.randn_like(query))
    return query.requires_grad_(), reference.requires_grad_(), torch.arange(pairs, device=device)


def step(loss: Callable[[Tensor, Tensor, Tensor], Tensor], query: Tensor, reference: Tensor, labels: Tensor):
    """Return the loss of `[B, D]` and `[B, D]`, and its two gradients."""
    value = loss(query, reference, labels)
    return value.detach(), *torch.autograd.grad(value, (query, reference))


def our_loss(query: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of `[B, D]` and `[B, D]` from one similarity matrix, in both directions."""
    return SoftMarginTripletLoss(ALPHA)(query, labels, ref_emb=reference, ref_labels=labels)


def pml_loss(query: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of `[B, D]` and `[B, D]` in PML's parts: one call a direction, which lists its triplets.

    A distance of 2 - 2 cos times alpha is the product of unit vectors, one of which is 2 alpha long.
    """
    func = TripletMarginLoss(
        margin=0, smooth_loss=True, distance=DotProductSimilarity(normalize_embeddings=False), reducer=MeanReducer()
    )
    query, reference = 2 * ALPHA * normalize(query), normalize(reference)
    there = func(query, labels, ref_emb=reference, ref_labels=labels.clone())
    back = func(reference, labels, ref_emb=query, ref_labels=labels.clone())
    return (there + back) / 2


LOSSES = {"ours": our_loss, "peer": pml_loss}


def one_step(device: str, pairs: int, whose: str) -> Callable[[], object]:
    """Return a step whose memory is to be measured; libraries have made their own buffers before it."""
    step(LOSSES[whose], *embeddings(16, device))
    batch = embeddings(pairs, device)
    return lambda: step(LOSSES[whose], *batch)
