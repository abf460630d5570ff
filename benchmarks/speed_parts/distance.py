"""Exact ranks of N queries among N references by DSM's distance, against the bare products of its Fourier form."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from geodtr_plugin.distances import CircularCorrelation
from geodtr_plugin.distances.fourier import correlations, query_spectrum, reference_spectrum
from geodtr_plugin.evaluation import recall

from .bench import Bench
from .table import Row

CVUSA = 8884  # pairs of the test set
SHAPES = {"miniature": (2, 8, 4), "small": (4, 64, 16), "real": (4, 64, 16)}  # of a reference's map; DSM's own
SIDES = {"cpu": 128, "cuda": 1024}  # queries and references of a tile of products


def measure(bench: Bench) -> Iterator[Row]:
    """Yield the time for panoramas and for halves of them, and the memory."""
    pairs, shape = bench.choose(miniature=100, small=2000, real=CVUSA), SHAPES[bench.size]
    for degrees in (360, 180):
        distance = CircularCorrelation(shape, shape[1] * degrees // 360)
        query, reference = maps(pairs, distance, bench.device)
        works = {
            "ours": lambda: recall(query, reference, distance=distance),  # noqa: B023
            "peer": lambda: products(query, reference, distance),  # noqa: B023
        }
        size = f"{pairs:,} x {pairs:,}, {degrees} degrees"
        yield Row("distance: DSM's ranks, bare products", size, **bench.seconds(works, rounds=3))
    ours, peer = (
        bench.peak("distance", "one_call", pairs=pairs, shape=shape, whose=whose) for whose in ("ours", "peer")
    )
    yield Row("distance: memory, against one similarity a pair", f"{pairs:,} x {pairs:,}", ours, peer, "B")


def maps(count: int, distance: CircularCorrelation, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return random maps of queries and references, flat; about half of the queries are most like their reference."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, distance.height, distance.width, distance.channels)
    reference = torch.randn(shape, generator=generator)
    query = reference.roll(-distance.width // 4, 2)[:, :, : distance.query_width]
    noise = torch.randn(query.shape, generator=generator)
    return (0.08 * query + noise).flatten(1).to(device), reference.flatten(1).to(device)


def products(query: Tensor, reference: Tensor, distance: CircularCorrelation) -> None:
    """Compute the correlations of all pairs at all shifts in float32, tile by tile, and nothing else."""
    side = SIDES.get(query.device.type, SIDES["cuda"])
    for some in reference.split(8 * side):
        references = reference_spectrum(distance.as_columns(some))
        for rows in query.split(8 * side):
            queries = query_spectrum(distance.as_columns(rows), distance.width)
            for one in queries.split(side, dim=1):
                for other in references.split(side, dim=1):
                    correlations(one, other)


def one_call(device: str, pairs: int, shape: list[int], whose: str) -> Callable[[], object]:
    """Return a call whose memory is to be measured: of ranks, or of one matrix of similarities."""
    distance = CircularCorrelation((shape[0], shape[1], shape[2]))
    recall(*maps(64, distance, device), distance=distance)
    query, reference = maps(pairs, distance, device)
    if whose == "peer":
        return lambda: torch.zeros(pairs, pairs, device=device)
    return lambda: recall(query, reference, distance=distance)
