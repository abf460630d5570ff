"""Measuring from files: the memory that a process needs for itself does not follow the number of embeddings."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

COUNT, SIZE, ASKED = 40_000, 1_024, 1_000  # 164 MB of references; all similarities would be 160 MB
ALLOWED = 135  # MB: a block of 64 MiB, tiles of 48 MiB at another time or, as memory is given back late, at once
SCRIPT = """
import json, sys, threading
from pathlib import Path

import numpy as np
import torch

from geodtr_plugin import CrossViewTester, Truth
from geodtr_plugin.evaluation import most_similar, rank_queries
from geodtr_plugin.utils.npy_rows import take_rows

folder, count, size, asked = Path(sys.argv[1]), *map(int, sys.argv[2:])
torch.set_num_threads(1)
torch.manual_seed(0)


def anonymous():  # megabytes that no file stands behind, which the system cannot take back
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1000


def growth(work):
    peak, done, before = [0], threading.Event(), anonymous()

    def watch():
        while not done.wait(0.002):
            peak.append(anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    results.append(work())
    done.set()
    watcher.join()
    return max(*peak, anonymous()) - before


class Images(torch.utils.data.Dataset):
    images = torch.randn(count, 8)

    def __len__(self):
        return count

    def __getitem__(self, i):
        return self.images[i], i


results, grown = [], {}
tester = CrossViewTester(batch_size=500, dataloader_num_workers=0, data_device="cpu", progress=False)
tower = torch.nn.Linear(8, size, bias=False)
tester.embed(torch.utils.data.Subset(Images(), range(500)), "query", tower)  # what is loaded on first use
grown["embed"] = growth(lambda: tester.embed(Images(), "reference", tower, out=folder / "reference.npy"))
reference, rows = results[-1], np.arange(0, count, count // asked)
grown["take"] = growth(lambda: take_rows(reference, np.delete(np.arange(count), 1), folder))
query, truth = take_rows(reference, rows, folder), Truth.from_lists(rows[:, None])
grown["examples"] = growth(lambda: most_similar(query[:4], reference, 5))
grown["rank"] = growth(lambda: rank_queries(query, reference, truth, ties="optimistic"))
assert len(query) == asked and (results[-1].plain == 0).all()
grown["a copy"] = growth(lambda: reference.clone())
print(json.dumps(grown))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status as Linux has it")
def test_memory_stays_below_that_of_the_embeddings(tmp_path):
    words = [sys.executable, "-c", SCRIPT, str(tmp_path), *map(str, (COUNT, SIZE, ASKED))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert grown.pop("a copy") > 150, "a copy of all references is not seen, so that the rest says nothing"
    assert max(grown.values()) < ALLOWED, grown
