"""Times and peaks of memory."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

Work = Callable[[], object]
Choice = TypeVar("Choice")
HERE = Path(__file__).resolve().parent
LARGE = 2**17  # bytes


@dataclass
class Bench:
    """Where and how large to measure.

    Args:
        wanted: device by name, or "auto".
        size: "miniature", "small", "real", or None for what the device can do.
        threads: on a CPU.
        rounds: of every measurement; None: what its part takes.
    """

    wanted: str
    size: str | None
    threads: int
    rounds: int | None = None

    def __post_init__(self):
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)
        found = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(found if self.wanted == "auto" else self.wanted)
        self.size = self.size or ("real" if self.on_gpu else "small")

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def clock_is_cpu(self) -> bool:
        """Whether times are CPU seconds: only then are those of one thread, and of nobody else."""
        return not self.on_gpu and self.threads == 1

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.on_gpu else f"CPU ({cpu_name()})"

    def choose(self, **by_size: Choice) -> Choice:
        """The value for this size; that of `gpu` on a GPU at real size, where it is given."""
        key = "gpu" if self.on_gpu and self.size == "real" and "gpu" in by_size else self.size
        return by_size[key]

    def seconds(self, works: Mapping[str, Work], rounds: int = 5) -> dict[str, float]:
        """Median seconds of each work after a first call, which warms up; the works take turns."""
        times: dict[str, list[float]] = {name: [] for name in works}
        for turn in range(-1, self.rounds or rounds):
            for name, work in works.items():
                seconds = self.once(work)
                if turn >= 0:
                    times[name].append(seconds)
        return {name: statistics.median(own) for name, own in times.items()}

    def once(self, work: Work) -> float:
        """Seconds of one call."""
        clock = time.process_time if self.clock_is_cpu else time.perf_counter
        self._wait()
        start = clock()
        work()
        self._wait()
        return clock() - start

    def peak(self, module: str, function: str, **arguments: Any) -> int:
        """Bytes by which memory grows at most in `work = function(device, **arguments)`; `work()`.

        On a CPU that is the process's peak as the system saw it, in a process of its own (but for miniatures), from
        what it has before the call; on a GPU the allocator's. Large blocks come straight from the system there and go
        back to it at once: gaps in the C library's heap, which differ from run to run, do not count.
        """
        if self.on_gpu or self.size == "miniature":
            work = getattr(importlib.import_module(f"speed_parts.{module}"), function)(str(self.device), **arguments)
            return gpu_growth(self.device, work) if self.on_gpu else cpu_growth(work)
        return self._peak_of_a_process(module, function, arguments)

    def _peak_of_a_process(self, module: str, function: str, arguments: dict[str, Any]) -> int:
        words = [sys.executable, "-m", "speed_parts.measure", module, function, json.dumps(arguments)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        paths = os.pathsep.join([str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | threads | {"PYTHONPATH": paths, "MALLOC_MMAP_THRESHOLD_": str(LARGE)}
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"The process that measures the memory of {module}.{function} failed:\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)


def gpu_growth(device: torch.device, work: Work) -> int:
    """Bytes of the GPU's allocator."""
    gc.collect()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) - before


def cpu_growth(work: Work) -> int:
    """Bytes of resident memory of this process, from what it has now to its highest (Linux)."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else memory that was freed before would hold part of the work
    except (OSError, AttributeError):  # another C library
        pass
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    before = status("VmRSS")
    work()
    return max(0, status("VmHWM") - before)


def status(field: str) -> int:
    """A field of this process's status, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def cpu_name() -> str:
    """What the system calls its processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()




def main(words: list[str]) -> None:
    """The process that measures memory: prints bytes."""
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    module, function, arguments = words
    work = getattr(importlib.import_module(f"speed_parts.{module}"), function)("cpu", **json.loads(arguments))
    print(cpu_growth(work))


if __name__ == "__main__":
    main(sys.argv[1:])
