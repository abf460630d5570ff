"""Renders a whole world into a prepared folder, on several processes if that pays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

import geodtr_plugin

from .cache import open_arrays
from .spec import Spec


def render_world(spec: Spec, folder: Path, workers: int | None, progress: bool) -> None:
    """Fill the arrays in a folder; pictures do not depend on the number of workers.

    Args:
        spec: the request that the folder was prepared for.
        folder: holds all arrays and the manifest.
        workers: processes; None takes one for each CPU. Never more than there are scenes; 1 renders in this process.
        progress: show a progress bar.

    Raises:
        RuntimeError: a process failed.
    """
    workers = min(workers or cpu_count(), spec.scenes)
    with tqdm(total=spec.count, desc=f"{spec.style} {spec.split}", unit="pair", disable=not progress) as bar:
        if workers > 1:
            _render_in_processes(folder, workers, bar)
        else:
            for queries in render_scenes(spec, folder, 0, 1):
                bar.update(queries)


def render_scenes(spec: Spec, folder: Path, first: int, step: int) -> Iterator[int]:
    """Render the scenes `first`, `first + step`, ...; yield after each how many queries it has."""
    arrays = open_arrays(folder, spec, mode="r+")
    for number in range(first, spec.scenes, step):
        yield spec.render_scene(number, arrays)
    for array in arrays.values():
        array.flush()


def cpu_count() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _render_in_processes(folder: Path, workers: int, bar: tqdm) -> None:
    processes = [_start(folder, first, workers) for first in range(workers)]
    try:
        with ThreadPoolExecutor(workers) as threads:
            errors = list(threads.map(lambda process: _follow(process, bar), processes))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    failed = [error for error in errors if error]
    if failed:
        raise RuntimeError(f"A process that renders the synthetic world failed:\n{failed[0]}")


def _start(folder: Path, first: int, step: int) -> subprocess.Popen:
    """Start a worker that renders the scenes `first`, `first + step`, ..."""
    package = str(Path(geodtr_plugin.__file__).parent.parent)
    # one BLAS thread each: the workers already fill the CPUs
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "geodtr_plugin.worlds.worker", str(folder), str(first), str(step)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _follow(process: subprocess.Popen, bar: tqdm) -> str:
    """Move the bar with a worker's reports; return what the worker complained about if it failed."""
    assert process.stdout is not None and process.stderr is not None  # both are pipes
    for line in process.stdout:
        bar.update(int(line))
    error = process.stderr.read()
    return (error or f"exit code {process.returncode}") if process.wait() else ""
