"""Two processes measure what one does, from memory and from one file that both write."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from geodtr_plugin.datasets import Subset
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import build_image_transforms, build_model
from geodtr_plugin.harness.data import load_splits
from geodtr_plugin.harness.evaluate import Evaluator
from geodtr_plugin.harness.run_folder import RunFolder
from geodtr_plugin.utils import distributed
from geodtr_plugin.utils import npy_rows as row_files

pytestmark = pytest.mark.slow

NAME, SIZE = "synth-suburb", 3
BLOCK = 4 * 1000  # bytes that are copied at once: several blocks, the last of them not full
AS_PROCESS = {"WORLD_SIZE": "2", "LOCAL_RANK": "0"}
HEADINGS = "--view.turned tests --headings 3"
WORDS = f"--method simple --train {NAME} --data.count 32 --workers 0 --device cpu"


def measured(folder: Path, kind: str, words: str = "") -> SimpleNamespace:
    """Numbers and embeddings of 31 queries, in parts of them too, one of which has fewer queries than processes."""
    config = settings(f"{WORDS} --evaluation.embeddings {kind} {words}")
    torch.manual_seed(0)
    model = build_model(config)
    split = load_splits(config)[1][NAME].keep(np.arange(31), np.arange(32))
    some = Subset("some", "Some.", np.array([0, 3, 20]), np.arange(0, 32, 2))
    split = replace(split, subsets=(some, replace(some, name="one", queries=np.array([20]))))
    transforms = build_image_transforms(config, model)
    measure = Evaluator(config, model, transforms, {NAME: split}, torch.device("cpu"), folder)
    first = measure.embed(split.keep(np.arange(1), np.arange(1)))["query"]  # there are fewer images than processes
    return SimpleNamespace(first=first.clone(), numbers=measure()[0], **measure.embed(split))


def work(number: int, folder: str) -> None:
    """What process `number` of two finds, in a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", timedelta(minutes=2), rank=number, world_size=2)
    found = {kind: vars(measured(RunFolder(folder), kind)) for kind in ("memory", "file")}
    mine = distributed.shard(7)
    rows = torch.arange(7.0)[mine.start : mine.stop, None].expand(-1, SIZE).contiguous()
    found["headings"] = measured(RunFolder(folder), "memory", HEADINGS).numbers
    found["seven"] = distributed.gather_shards(rows, 7)
    found["one"] = distributed.gather_shards(torch.ones(len(distributed.shard(1)), SIZE), 1)
    torch.save(found, f"{folder}/{number}.pt")
    distributed.destroy_process_group()


def as_process(number: int, folder: str) -> None:
    """In a new process."""
    os.environ.update(AS_PROCESS | {"RANK": str(number)})
    row_files.BLOCK_BYTES = BLOCK
    work(number, folder)


def test_two_processes_measure_what_one_does(tmp_path, monkeypatch):
    alone = measured(RunFolder(tmp_path / "alone"), "memory")
    headings = measured(RunFolder(tmp_path / "alone"), "memory", HEADINGS).numbers[NAME]
    other = mp.get_context("spawn").Process(target=as_process, args=(1, str(tmp_path)), daemon=True)
    other.start()
    monkeypatch.setattr(row_files, "BLOCK_BYTES", BLOCK)
    for name, value in (AS_PROCESS | {"RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    try:
        work(0, str(tmp_path))  # this process is the first: a second one would have to import everything again
    finally:
        distributed.destroy_process_group()
        other.join(60)
        other.kill()
    assert other.exitcode == 0
    for found in (torch.load(tmp_path / f"{number}.pt") for number in range(2)):
        assert found["file"]["numbers"] == found["memory"]["numbers"]
        numbers = found["memory"]["numbers"][NAME]
        parts, expected = numbers.pop("subsets"), dict(alone.numbers[NAME])
        assert parts == {name: pytest.approx(part) for name, part in expected.pop("subsets").items()}
        assert numbers == pytest.approx(expected) and parts["one"]["num_queries"] == 1
        assert torch.equal(found["file"]["first"], found["memory"]["first"])
        torch.testing.assert_close(found["file"]["first"], alone.query[:1], atol=1e-6, rtol=0)
        for role in ("query", "reference"):
            stored = torch.from_numpy(np.load(tmp_path / "embeddings" / f"{NAME}-{role}.npy"))
            assert torch.equal(found["memory"][role], stored) and torch.equal(found["file"][role], stored)
            torch.testing.assert_close(stored, getattr(alone, role), atol=1e-6, rtol=0)
        told = found["headings"][NAME]
        assert told.pop("subsets") == {name: pytest.approx(part) for name, part in headings["subsets"].items()}
        assert told == pytest.approx({name: value for name, value in headings.items() if name != "subsets"})
        assert "heading_median_error" in told
        assert found["seven"][:, 0].tolist() == list(range(7)) and found["one"].shape == (1, SIZE)
    assert sorted(p.name for p in (tmp_path / "embeddings").iterdir()) == [f"{NAME}-query.npy", f"{NAME}-reference.npy"]
