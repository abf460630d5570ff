"""Random number generators: seed all, keep their states in plain types, and set one item's draws apart."""

from __future__ import annotations

import contextlib
import os
import random
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .malloc import keep_freed_memory


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_cpu(seed: int) -> None:
    """Seed Python, numpy and torch's CPU generator, and leave those of the accelerators alone."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def rng_state() -> dict[str, Any]:
    """Return the states of all generators as tensors, numbers and text, which `weights_only` loading accepts."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Put back what `rng_state` returned; GPUs that this machine lacks are passed over."""
    python, legacy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = legacy["keys"].numpy().astype(np.uint32)
    np.random.set_state((legacy["name"], keys, legacy["position"], legacy["has_gauss"], legacy["cached"]))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for device, device_state in zip(range(torch.cuda.device_count()), state["cuda"]):
            torch.cuda.set_rng_state(device_state, device)


@contextlib.contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Draw on the CPU from `seed` within the block; afterwards the generators go on as if it had not been there."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_cpu(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def one_thread_worker(worker_id: int) -> None:
    """Give a loader's worker one thread for torch and for numpy's BLAS, and let it keep freed memory.

    Workers are many already; each with a pool as wide as the machine would only take the cores from the others.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    with contextlib.suppress(ImportError):  # comes with scikit-learn, which pytorch-metric-learning asks for
        import threadpoolctl

        threadpoolctl.threadpool_limits(1)  # a library that is loaded already no longer reads the environment


def rng_of(name: str, *numbers: int) -> np.random.Generator:
    """Return the random numbers of an image: they depend on its name and on `numbers`, and not on who asks, or when."""
    return np.random.default_rng([*numbers, zlib.crc32(name.encode(errors="surrogateescape"))])
