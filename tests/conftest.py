"""Settings of the whole suite: one thread, no network, pictures without a screen, a cache of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", HF_HUB_OFFLINE="1", MPLBACKEND="agg")
sys.path.insert(0, str(Path(__file__).parent))  # helpers such as trees.py are imported by name

import pytest  # noqa: E402
import torch  # noqa: E402
from gpu_tests import GPU_TESTS  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Worlds rendered by tests live in a folder of the test session, shared by its tests."""
    if "GEODTR_CACHE" not in os.environ:
        os.environ["GEODTR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    for item in items:
        if item.originalname in GPU_TESTS and not torch.cuda.is_available():
            sibling = GPU_TESTS[item.originalname]
            item.add_marker(pytest.mark.skip(reason=f"there is no GPU; its sibling is {sibling}"))
