"""What an approximate index costs and gives: `python benchmarks/index.py --help`.

    python benchmarks/index.py                                     20,000 vectors of 512 numbers, a minute
    python benchmarks/index.py --count 100000 --size 3072          as many tiles as a city has; 2.5 GB on disk

The vectors are random ones of unit length; those of a query's ten neighbours lie around it at planted angles, from 0.9
down to 0.5 in cosine, where random ones of 512 numbers hardly reach 0.2. So an exact search finds the ten that were
planted, and the recall of the approximate ones is what they lose. Cells that are learned from random directions are the
worst case: embeddings of real places cluster. Vectors are written block by block to a memory-mapped file.

What 10^7 to 10^9 vectors would cost: docs/benchmarks/search.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

# before faiss starts: threads that wait by spinning are slow as soon as another program wants a core
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np  # noqa: E402
from index_parts.planted import NEIGHBOURS, latencies, make_vectors, recall  # noqa: E402

from geodtr_plugin.search import VectorIndex  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and return 0."""
    options = parse(arguments)
    if options.threads:
        import faiss

        faiss.omp_set_num_threads(options.threads)
    shape = f"{options.count:,} vectors of {options.size} numbers, {options.dtype}"
    print(f"{shape}, {options.queries} queries, k {options.k}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "vectors.npy"
        queries, planted = make_vectors(file, options.count, options.size, options.queries, options.dtype)
        vectors = np.load(file, mmap_mode="r")
        exact = VectorIndex.build(vectors, "flat")
        _, truth = exact.search(queries, options.k)
        hits = recall(truth, planted[:, : options.k])
        print(f"the exact search finds {100 * hits:.1f} % of what was planted\n\n{HEAD}\n{'-' * len(HEAD)}")
        print(row("flat", 0, 0.0, vectors.nbytes, *latencies(exact, queries, options.k, options.rounds), 1.0))
        for kind in options.kinds:
            for line in measure(vectors, kind, Path(folder) / kind, queries, truth, options):
                print(line, flush=True)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=20_000, help="vectors")
    add("--size", type=int, default=512, help="numbers in each")
    add("--queries", type=int, default=100, help="queries; each has ten planted neighbours")
    add("--k", type=int, default=10, help="answers that are asked for, ten at most")
    add("--kinds", nargs="+", choices=["ivf", "ivfpq"], default=["ivf", "ivfpq"], help="approximate indexes")
    add("--nprobe", type=int, nargs="+", help="cells to look at; a sixteenth and a fourth of them if not given")
    add("--dtype", choices=["float32", "float16"], default="float32", help="of the stored vectors")
    add("--rounds", type=int, default=5, help="of timing; medians are shown")
    add("--threads", type=int, help="of faiss; all cores if not given")
    add("--folder", help="where the temporary files go")
    options = parser.parse_args(arguments)
    if not 1 <= options.k <= NEIGHBOURS or options.queries * NEIGHBOURS > options.count:
        parser.error(f"--k is {NEIGHBOURS} at most, and --count {NEIGHBOURS} times --queries at least")
    return options


def measure(
    vectors: np.ndarray, kind: str, folder: Path, queries: np.ndarray, truth: np.ndarray, options: argparse.Namespace
) -> Iterator[str]:
    """Build, save, load and search one kind of index; yield a line for each nprobe."""
    start = time.perf_counter()
    built = VectorIndex.build(vectors, kind)
    seconds = time.perf_counter() - start
    folder.mkdir()
    built.save(folder)
    disk = (folder / VectorIndex.FILE).stat().st_size
    index = VectorIndex.load(vectors, folder, built.nprobe)
    cells = index.approximate.nlist
    for nprobe in options.nprobe or (index.nprobe, cells // 4):
        _, found = index.search(queries, options.k, nprobe=nprobe)
        share = recall(found, truth)
        times = latencies(index, queries, options.k, options.rounds, nprobe)
        yield row(kind, nprobe, seconds, disk, *times, share, cells)


COLUMNS = {"cells": 8, "nprobe": 8, "build s": 10, "MB": 10, "ms, one": 10, "ms, many": 10, "recall": 9}
HEAD = f"{'kind':8s}" + "".join(name.rjust(width) for name, width in COLUMNS.items())


def row(
    kind: str, nprobe: int, seconds: float, disk: int, one: float, many: float, share: float, cells: int = 0
) -> str:  # fmt: skip
    """Return a line of the table; MB: of the vectors for flat, of what comes beside the vectors for the others."""
    numbers = f"{seconds:10.1f}{disk / 1e6:10.1f}{1000 * one:10.2f}{1000 * many:10.3f}{share:9.3f}"
    return f"{kind:8s}{cells:8d}{nprobe:8d}{numbers}"


if __name__ == "__main__":
    sys.exit(main())
