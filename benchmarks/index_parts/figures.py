"""What an index of one kind costs and finds at one size: measured."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geodtr_plugin.search import VectorIndex, learn_cells
from geodtr_plugin.search.cells import cells_for, sample_size

from .planted import latencies, make_vectors, recall, unit

_K = 10  # answers that are asked for


@dataclass(frozen=True)
class Figures:
    """A line of the table.

    Args:
        kind: flat, ivf or ivfpq.
        count, size: vectors, and numbers in each.
        cells: of the inverted file; 0 for flat.
        one_in: share of the cells that a search looks at; 1 for flat.
        code: bytes that the inverted file keeps of a vector; 0 for flat.
        memory: bytes that must be in memory: the inverted file, or the vectors of a flat index.
        train, add: seconds.
        one, many: seconds a query, asked one by one and all at once.
        recall: share of the ten nearest that are found.
    """

    kind: str
    count: int
    size: int
    cells: int
    one_in: int
    code: int
    memory: float
    train: float
    add: float
    one: float
    many: float
    recall: float

    @property
    def probed(self) -> int:
        """Cells that a search looks at."""
        return max(1, self.cells // self.one_in)

    @property
    def sample(self) -> int:
        """Vectors that the cells are learned from."""
        return sample_size(self.count, self.kind, self.cells)

    @property
    def scanned(self) -> float:
        """Vectors in these cells."""
        return self.count * self.probed / self.cells if self.cells else self.count


def measure(folder: Path, count: int, options: Namespace) -> Iterator[Figures]:
    """One line of flat, and for every other kind one of each share.

    Cells are learned from other random vectors than they are filled with: of 10^9 vectors less than a hundredth would
    be in the sample, of 10^5 most, and what was learned by heart is found too easily.
    """
    file, size, now = folder / "vectors.npy", options.size, clock(options.threads)
    asked, planted = make_vectors(file, count, size, options.queries)
    vectors = np.load(file, mmap_mode="r")
    exact = VectorIndex.build(vectors, "flat")
    truth = exact.search(asked, _K)[1]
    times = latencies(exact, asked, _K, options.rounds, now=now)
    yield Figures("flat", count, size, 0, 1, 0, vectors.nbytes, 0.0, 0.0, *times, recall(truth, planted))
    for kind in options.kinds:
        cells = cells_for(count)
        sample = unit(np.random.default_rng(1), sample_size(count, kind, cells), size)
        start = now()
        learned = learn_cells(sample, kind, nlist=cells)
        between = now()
        index = VectorIndex.build(vectors, cells=learned)
        train, add = between - start, now() - between
        index.save(folder)
        memory = (folder / index.FILE).stat().st_size
        for one_in in options.shares:
            nprobe = max(1, cells // one_in)
            share = recall(index.search(asked, _K, nprobe=nprobe)[1], truth)
            times = latencies(index, asked, _K, options.rounds, nprobe, now)
            code = index.approximate.code_size
            yield Figures(kind, count, size, cells, one_in, code, memory, train, add, *times, share)
    file.unlink()


def clock(threads: int) -> Callable[[], float]:
    """Seconds of the CPU for one thread, which other programs disturb little; of the clock for several, or for GPUs."""
    import faiss

    return time.process_time if threads == 1 and not faiss.get_num_gpus() else time.perf_counter
