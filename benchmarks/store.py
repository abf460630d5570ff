"""What a gallery in Milvus costs and gives: `python benchmarks/store.py --help`.

    python benchmarks/store.py --folder /tmp                        20,000 vectors of 3,072 numbers in Milvus Lite
    python benchmarks/store.py --store http://127.0.0.1:19530       the same in a server

The vectors are those of benchmarks/index.py: random directions with ten planted neighbours of each query, the worst
case for any index. Their places are a city's, 33 m apart. Writing and searching are processes of their own, so that
memory is that of each; a store is opened as `geodtr locate` opens it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout runs without being installed

import numpy as np  # noqa: E402
from index_parts.planted import make_vectors, recall  # noqa: E402

from geodtr_plugin.evaluation import most_similar  # noqa: E402
from geodtr_plugin.search.area import Area  # noqa: E402
from geodtr_plugin.search.embedder import RunRecord  # noqa: E402
from geodtr_plugin.search.store.address import Address  # noqa: E402
from geodtr_plugin.search.store.collection import Collection, Reference  # noqa: E402
from geodtr_plugin.search.store.connection import Connection  # noqa: E402
from geodtr_plugin.search.store.gallery import StoreGallery  # noqa: E402

K = 10
APART = 0.0003  # degrees of latitude between neighbours: 33 m
RADII = (300, 1000, 5000)  # metres
BATCH = 64  # references that are written at once, as geodtr index build does
RECORD = RunRecord("benchmark", "none", "0" * 64, {}, {}, "fp32")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 0."""
    options = parse(arguments)
    print(f"{options.count:,} vectors of {options.size} numbers, {options.kind}, {options.store or 'Milvus Lite'}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "vectors.npy"
        queries, _ = make_vectors(file, options.count, options.size, options.queries)
        np.save(Path(folder) / "queries.npy", queries)
        address = options.store or f"milvus:{folder}/city.db"
        for step in (write, search):
            process = multiprocessing.get_context("spawn").Process(target=step, args=(address, folder, options.kind))
            process.start()
            process.join()
        if options.store is None:
            files = [path for path in Path(folder, "city.db").rglob("*") if path.is_file()]
            print(f"on disk: {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--count", type=int, default=20_000, help="vectors")
    add("--size", type=int, default=3072, help="numbers in each")
    add("--queries", type=int, default=100, help="queries")
    add("--kind", default="auto", help="of index, as for geodtr index build --store")
    add("--store", help="of a server; Milvus Lite in a temporary folder if not given")
    add("--folder", help="where the temporary files go")
    return parser.parse_args(arguments)


def write(address: str, folder: str, kind: str) -> None:
    """Write all vectors, and print what that took until the store is closed."""
    vectors, start = np.load(f"{folder}/vectors.npy", mmap_mode="r"), time.perf_counter()
    references = _references(len(vectors))
    with Connection(Address.parse(address)) as connection:
        collection = Collection.make(connection, "benchmark", RECORD, vectors.shape[1], kind, len(vectors))
        for first in range(0, len(vectors), BATCH):
            collection.write(references[first : first + BATCH], np.array(vectors[first : first + BATCH]))
        collection.finish()
        written = time.perf_counter() - start
    used = time.process_time()
    print(f"written in {written:,.0f} s, indexed in {time.perf_counter() - start:,.0f} s", end="; ")
    print(f"{used:,.0f} s of processor time, {_most():.1f} GB of memory at most", flush=True)


def search(address: str, folder: str, kind: str) -> None:
    """Search everywhere and in areas, and print latencies and recalls."""
    vectors, queries = np.load(f"{folder}/vectors.npy", mmap_mode="r"), np.load(f"{folder}/queries.npy")
    rows = {reference.id: row for row, reference in enumerate(_references(len(vectors)))}
    places, start = _places(len(vectors)), time.perf_counter()
    gallery = StoreGallery.open(address, "benchmark")
    gallery.search(queries[:1], K)
    print(f"opened and searched once in {time.perf_counter() - start:.1f} s, {_most():.1f} GB", flush=True)
    middle = places.mean(axis=0).tolist()
    for area in (None, *(Area(*middle, metres) for metres in RADII)):
        inside = np.arange(len(vectors)) if area is None else np.flatnonzero(area.holds(places))
        _, truth = most_similar(queries, vectors, K, candidates=inside, normalised=True)
        times, found = [], []
        for query in queries:
            start = time.perf_counter()
            found.append([rows.get(key, -1) for key in gallery.search(query[None], K, area=area)[1][0].tolist()])
            times.append(time.perf_counter() - start)
        where = "everywhere" if area is None else f"within {area.metres:,.0f} m"
        figures = f"{1000 * statistics.median(times):6.1f} ms a query, recall@10 {recall(np.array(found), truth):.3f}"
        print(f"{where:15s} {len(inside):9,} references {figures}", flush=True)
    print(f"{_most():.1f} GB of memory at most", flush=True)
    if not Address.parse(address).embedded:
        gallery.collection.drop()
    gallery.collection.connection.close()


def _places(count: int) -> np.ndarray:
    side = int(count**0.5) + 1
    row, column = np.divmod(np.arange(count), side)
    return np.stack([48 + APART * row, 11 + APART * column], axis=1)


def _references(count: int) -> list[Reference]:
    return [Reference.of("/tiles", f"{row}.png", "", at, "") for row, at in enumerate(_places(count).tolist())]


def _most() -> float:
    """Return the most memory that this process had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB


if __name__ == "__main__":
    sys.exit(main())
