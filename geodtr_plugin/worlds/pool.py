"""Renders a whole world into a prepared folder, on several processes if that pays."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

import geodtr_plugin

from .cache import open_arrays
from .jobs import Spec, render_part


def render_world(spec: Spec, folder: Path, workers: int | None, progress: bool) -> None:
    """Fills the arrays in `folder`; pictures do not depend on the number of workers.

    Args:
        workers: processes; None takes one for each CPU. Never more than there are scenes; 1 renders in this process.
    """
    workers = min(workers or cpu_count(), spec.scenes)
    title = f"{spec.style} {spec.split}"
    with tqdm(total=spec.count, desc=title, unit="pair", disable=not progress) as bar:
        if workers <= 1:
            arrays = open_arrays(folder, spec, mode="r+")
            for number in range(spec.scenes):
                bar.update(render_part(spec, number, arrays))
            for array in arrays.values():
                array.flush()
        else:
            _render_in_processes(folder, workers, bar)


def cpu_count() -> int:
    """CPUs that this process may use."""
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
    """A worker that renders scenes first, first + step, ..."""
    package = str(Path(geodtr_plugin.__file__).parent.parent)
    # one BLAS thread each: the workers already fill the CPUs
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "geodtr_plugin.worlds.worker", str(folder), str(first), str(step)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _follow(process: subprocess.Popen, bar: tqdm) -> str:
    """Moves the bar with a worker's reports; returns what it complained about if it failed."""
    for line in process.stdout:
        bar.update(int(line))
    error = process.stderr.read()
    return (error or f"exit code {process.returncode}") if process.wait() else ""
