"""Stores for tests: an embedded one, and one over the network on the loopback address; each with random references."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geodtr_plugin.search.embedder import RunRecord
from geodtr_plugin.search.store.address import Address
from geodtr_plugin.search.store.collection import Collection, Reference
from geodtr_plugin.search.store.connection import Connection

RECORD = RunRecord("run", "best.safetensors", "0" * 64, {}, {}, "fp32")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder by `milvus-lite server`, and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("milvus-lite", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    words = [program, "server", "--data-dir", folder, "--host", "127.0.0.1", "--port", port, "--max-workers", 1]
    server = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int, server: subprocess.Popen) -> None:
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert server.poll() is None, "the server has ended"
        time.sleep(0.05)
    raise AssertionError("the server does not answer")


def unit(count: int, size: int = 16, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def references(places: np.ndarray) -> list[Reference]:
    return [Reference.of("/tiles", f"{i}.png", "", at, "1") for i, at in enumerate(places.tolist())]


@contextlib.contextmanager
def filled(address: str, name: str, vectors: np.ndarray, places: np.ndarray, kind: str) -> Iterator[Collection]:
    """Write vectors with their places to a new collection."""
    with Connection(Address.parse(address)) as connection:
        collection = Collection.make(connection, name, RECORD, vectors.shape[1], kind, len(vectors), nlist=16)
        for start in range(0, len(vectors), 500):
            some = slice(start, start + 500)
            collection.write(references(places)[some], vectors[some])
        collection.finish()
        yield collection


def contents(address: str, name: str = "geodtr") -> dict[int, dict]:
    """Return all that a collection holds, by the numbers of references."""
    with Connection(Address.parse(address)) as connection:
        connection.client.load_collection(name)
        rows = connection.client.query(name, filter="id >= 0", output_fields=["*"])
    return {row["id"]: row for row in rows}
