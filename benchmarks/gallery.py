"""What an index of 10^7 to 10^9 tiles costs, extrapolated from smaller ones: `python benchmarks/gallery.py --help`.

    python benchmarks/gallery.py                                        10,000 to 40,000 vectors, half a minute
    python benchmarks/gallery.py --counts 100000 300000 1000000         what the README shows; 3 GB on disk

Measured are random unit vectors with planted neighbours (as in benchmarks/index.py), for flat, ivf and ivfpq: bytes in
memory, seconds to learn the cells and to fill them, latency, and recall of the ten nearest. To these lines laws are
fitted, which are printed with their coefficients, and which give the lines marked EXTRAPOLATED. How far laws that know
the smaller sizes only miss the largest one is printed too.

    bytes     follow from the format: a vector's code and number, a cell's centre
    learning  grows as sample x cells, filling as vectors x cells
    latency   flat: as vectors; others: as cells (all centres are compared) and as vectors in the cells looked at
    recall    of the cells: geometry of random directions; of compression: the share that was measured

What fits the cache of the processor is faster than it will be: only 10^5 vectors and more tell much of 10^9.
Cells are 4 sqrt(N), the package's rule, also for the extrapolated sizes. FAISS's own guide takes more for these
(65,536 from 10^6 vectors on, up to 1,048,576 at 10^9) and finds them through a graph.

What is not in the laws: disks. All that was measured lay in memory, and so must what is extrapolated: the vectors of a
flat index, the cells of the others, spread over several machines where one is too small. Only ivfpq's re-ranking reads
200 vectors a query from disk, which adds the time of 200 random reads where they are not cached. With one thread and
no GPU, times are those of the CPU, which other programs disturb little, else those of the clock. Real embeddings
cluster, and lose less by cells than random directions do.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed
sys.path.insert(0, str(Path(__file__).resolve().parent))  # and so does an import of this script

# before faiss starts: threads that wait by spinning are slow as soon as another program wants a core
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from index_parts.figures import Figures, measure  # noqa: E402
from index_parts.laws import Laws, bytes_in_memory  # noqa: E402
from index_parts.planted import NEIGHBOURS  # noqa: E402

KINDS = ("flat", "ivf", "ivfpq")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, extrapolates and prints."""
    options = parse(arguments)
    import faiss

    faiss.omp_set_num_threads(options.threads)
    print(f"{options.size} numbers a vector, float32; {options.threads} thread(s); faiss {faiss.__version__}\n\n{HEAD}")
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for count in sorted(options.counts):
            for row in measure(Path(folder), count, options):
                rows.append(row)
                print(line(row, "measured"), flush=True)
    print("\n".join(["", *checked(rows), "", *extrapolated(rows, options), "", *machines(rows, options)]))
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    whole = lambda text: int(float(text))  # noqa: E731  1e9 is easier to read than its zeros
    add("--counts", type=whole, nargs="+", default=[10_000, 20_000, 40_000], help="vectors that are measured")
    add("--to", type=whole, nargs="+", default=[10**7, 10**8, 10**9], help="vectors that are extrapolated to")
    add("--size", type=int, default=256, help="numbers in a vector: embeddings reduced by PCA, as such sizes need")
    add("--kinds", nargs="+", choices=KINDS[1:], default=KINDS[1:], help="beside flat")
    add("--shares", type=int, nargs="+", default=[16, 64], help="look at one in so many cells")
    add("--queries", type=int, default=100, help="queries; each has ten planted neighbours")
    add("--rounds", type=int, default=5, help="of timing; medians are shown")
    add("--threads", type=int, default=1, help="of faiss")
    add("--machine-memory", type=float, default=256, help="GB of memory in a machine that holds a part")
    add("--folder", help="where the temporary files go")
    options = parser.parse_args(arguments)
    if len(set(options.counts)) < 2:
        parser.error("--counts must name two sizes or more: laws are fitted through them")
    if min(options.shares) < 1 or options.queries * NEIGHBOURS > min(options.counts) or min(options.counts) < 2500:
        parser.error(f"--counts are 2500 and {NEIGHBOURS} times --queries at least, and --shares 1")
    return options


def checked(rows: list[Figures]) -> list[str]:
    """The largest measured size beside what laws from the smaller ones say of it."""
    largest = max(row.count for row in rows)
    smaller = [row for row in rows if row.count < largest]
    if len({row.count for row in smaller}) < 2:
        return ["Two sizes fit the laws and leave none to check them with: name three --counts."]
    lines = [f"Laws from the smaller sizes against what was measured at {largest:,}:", HEAD]
    laws, pairs = fitted(smaller), []
    for row in rows:
        if row.count == largest:
            pairs.append((laws[row.kind].at(largest, row.one_in), row))
            lines += [line(row, "measured"), line(pairs[-1][0], "predicted")]
    return [*lines, f"Predicted / measured: {misses(pairs)}."]


def misses(pairs: list[tuple[Figures, Figures]]) -> str:
    """How far predicted lines are from measured ones, figure by figure."""
    told = []
    for name, what in {"memory": "memory", "one": "one", "many": "many", "learning": "train", "filling": "add"}.items():
        ratios = [getattr(guess, what) / getattr(true, what) for guess, true in pairs if getattr(true, what)]
        told += [f"{name} {min(ratios):.2f} to {max(ratios):.2f}"] if ratios else []
    wrong = max(abs(guess.recall - true.recall) for guess, true in pairs)
    return ", ".join(told) + f"; recall off by {wrong:.3f} at most"


def extrapolated(rows: list[Figures], options: argparse.Namespace) -> list[str]:
    """The laws, and what they say of sizes that were not measured."""
    laws = fitted(rows)
    lines = ["Laws from all sizes:", *(told for law in laws.values() for told in law.sentences())]
    lines += [*(told for law in laws.values() for told in law.unseen()), "", HEAD]
    for count in options.to:
        for kind, law in laws.items():
            for one_in in [1] if kind == "flat" else options.shares:
                lines.append(line(law.at(count, one_in), "EXTRAPOLATED"))
    return lines


def machines(rows: list[Figures], options: argparse.Namespace) -> list[str]:
    """Over how many machines each must be spread, and how fast these answer together."""
    laws = fitted(rows)
    memory = options.machine_memory * 1e9
    lines = [f"Machines with {options.machine_memory:g} GB of memory, EXTRAPOLATED; all search their part at once:"]
    lines.append(f"{'kind':8s}{'vectors':>15s}{'machines':>10s}{'memory each':>13s}{'disk each':>11s}{'ms, one':>11s}")
    for count in options.to:
        for kind, law in laws.items():
            one_in = 1 if kind == "flat" else options.shares[0]
            parts = fewest(law, count, one_in, memory)
            if not parts:
                lines.append(f"{kind:8s}{count:15,d}   none: the centres of the cells alone are larger")
                continue
            part = law.at(count, one_in, parts)
            disk = part.memory + (0 if kind == "flat" else 4 * part.count * part.size)  # the index, and the vectors
            each = f"{amount(part.memory):>13s}{amount(disk):>11s}{1000 * part.one:11,.2f}"
            lines.append(f"{kind:8s}{count:15,d}{parts:10,d}{each}")
    return lines


def fewest(law: Laws, count: int, one_in: int, memory: float) -> int:
    """The fewest parts that fit a machine's memory each; 0 if none do. Every part holds the centres of all cells."""
    whole = law.at(count, one_in)
    centres = bytes_in_memory(replace(whole, count=0))
    return math.ceil((whole.memory - centres) / (memory - centres)) if centres < memory else 0


def fitted(rows: list[Figures]) -> dict[str, Laws]:
    """Laws of each kind from all its lines."""
    kinds = dict.fromkeys(row.kind for row in rows)
    return {kind: Laws([row for row in rows if row.kind == kind]) for kind in kinds}


COLUMNS = {
    "vectors": 15, "cells": 10, "looked at": 11, "memory": 11, "learning": 11, "filling": 11, "ms, one": 11,
    "ms, many": 11, "recall": 9,
}  # fmt: skip
HEAD = f"{'kind':8s}" + "".join(name.rjust(width) for name, width in COLUMNS.items())
HEAD += "\n" + "-" * len(HEAD)


def line(row: Figures, how: str) -> str:
    """A line of the table."""
    probed = f"{row.probed:,}" if row.cells else "-"
    cells = [f"{row.count:,}", f"{row.cells:,}", probed, amount(row.memory), duration(row.train), duration(row.add)]
    cells += [f"{1000 * row.one:,.2f}", f"{1000 * row.many:,.3f}", f"{row.recall:.3f}"]
    return f"{row.kind:8s}" + "".join(map(str.rjust, cells, COLUMNS.values())) + f"  {how}"


def amount(size: float) -> str:
    """Bytes with the unit that suits them."""
    for unit, name in ((1e12, "TB"), (1e9, "GB")):
        if size >= unit:
            return f"{size / unit:,.2f} {name}"
    return f"{size / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Seconds, or hours where they are many."""
    return "-" if not seconds else f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds:,.1f} s"


if __name__ == "__main__":
    sys.exit(main())
