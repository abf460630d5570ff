"""Times and peaks of memory, on a CPU or a GPU."""

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
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

Work = Callable[[], object]
Choice = TypeVar("Choice")
HERE = Path(__file__).resolve().parent
LARGE = 2**17  # bytes
LONGEST = 10.0  # seconds of a measurement, after which no new round begins


class Bench:
    """Where and how large to measure.

    Args:
        device: by name, or "auto".
        size: "miniature", "small", "real", or None for what the device can do.
        threads: on a CPU.
        rounds: of every measurement; None: what its part takes.
    """

    def __init__(self, device: str, size: str | None, threads: int, rounds: int | None = None):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        best = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(best if device == "auto" else device)
        self.on_gpu = self.device.type == "cuda"
        self.size, self.threads, self.rounds = size or ("real" if self.on_gpu else "small"), threads, rounds
        self.clock_is_cpu = not self.on_gpu and threads == 1  # only then is the CPU's time that of one thread

    @property
    def device_name(self) -> str:
        """What the system calls the GPU, or the processor."""
        if self.on_gpu:
            return torch.cuda.get_device_name(self.device)
        info = Path("/proc/cpuinfo")
        lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        return f"CPU ({names[0] if names else platform.processor() or platform.machine()})"

    def choose(self, **by_size: Choice) -> Choice:
        """Return the value for this size; that of `gpu` on a GPU at real size, where there is one."""
        return by_size["gpu" if self.on_gpu and self.size == "real" and "gpu" in by_size else self.size]

    def seconds(self, works: Mapping[str, Work], rounds: int = 5) -> dict[str, float]:
        """Return the median seconds of each work after a first call, which warms up; the works take turns.

        After LONGEST seconds no round begins, so that one is enough of what takes long.
        """
        times: dict[str, list[float]] = {name: [] for name in works}
        begun = time.perf_counter()
        for turn in range(-1, self.rounds or rounds):
            if turn > 0 and time.perf_counter() - begun > LONGEST:
                break
            for name, work in works.items():
                seconds = self.once(work)
                if turn >= 0:
                    times[name].append(seconds)
        return {name: statistics.median(values) for name, values in times.items()}

    def once(self, work: Work) -> float:
        """Return the seconds of one call."""
        clock = time.process_time if self.clock_is_cpu else time.perf_counter
        self._wait()
        start = clock()
        work()
        self._wait()
        return clock() - start

    def peak(self, module: str, function: str, **arguments: Any) -> int:
        """Return by how many bytes memory grows at most in `work = function(device, **arguments)`; `work()`.

        On a GPU that is the allocator's count. On a CPU it is the process's peak as the system saw it, from what it has
        before the call, in a process of its own (but for miniatures) in which large blocks go straight back to the
        system: gaps in the C library's heap, which differ from run to run, do not count.
        """
        if self.on_gpu or self.size == "miniature":
            work = getattr(importlib.import_module(f"speed_parts.{module}"), function)(str(self.device), **arguments)
            return _gpu_growth(self.device, work) if self.on_gpu else _cpu_growth(work)
        words = [sys.executable, "-m", "speed_parts.bench", module, function, json.dumps(arguments)]
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


def random_images(count: int, height: int, width: int) -> Tensor:
    """Return smooth pictures with all levels, uint8 `[count, 3, height, width]`."""
    coarse = torch.rand(count, 3, max(2, height // 8), max(2, width // 8))
    return (255 * interpolate(coarse, (height, width), mode="bilinear")).byte()


def _gpu_growth(device: torch.device, work: Work) -> int:
    gc.collect()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return torch.cuda.max_memory_allocated(device) - before


def _cpu_growth(work: Work) -> int:
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # else memory that was freed before would hold part of the work
    except (OSError, AttributeError):  # another C library
        pass
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the highest so far is forgotten
    before = _status("VmRSS")
    work()
    return max(0, _status("VmHWM") - before)


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


if __name__ == "__main__":  # the process that measures memory: it prints bytes
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    build = getattr(importlib.import_module(f"speed_parts.{sys.argv[1]}"), sys.argv[2])
    print(_cpu_growth(build("cpu", **json.loads(sys.argv[3]))))
