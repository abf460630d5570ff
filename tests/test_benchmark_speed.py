"""The benchmark of speed runs as a command, its table is complete, and ours equals the peers where it must."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LINES = {  # component -> how many rows
    "loss: forward and backward, both directions": 2,
    "loss: value and gradient, relative difference": 2,
    "loss: peak memory, in N^2 floats": 1,
    "evaluation: against the bare matrix product": 1,
    "evaluation: memory beside the embeddings": 1,
    "evaluation: against PML's AccuracyCalculator": 1,
    "evaluation: memory, against PML's": 1,
    "evaluation: R@1, difference to PML's": 1,
    "evaluation: against the authors' rule": 1,
    "evaluation: R@K, difference to the authors' rule": 1,
    "evaluation: CVACT's test set, bare product": 1,
    "augmentation: CHSG of a batch, two samples a pair": 1,
    "augmentation: share of the training step": 1,
    "augmentation: brightness, levels from torchvision's": 1,
    "augmentation: contrast, levels from torchvision's": 1,
    "augmentation: saturation, levels from torchvision's": 1,
    "augmentation: grayscale, levels from torchvision's": 1,
    "augmentation: posterize, levels from torchvision's": 1,
    "augmentation: blur, levels from torchvision's": 1,
    "augmentation: layout, levels from torchvision's": 1,
    "step: bf16, against fp32": 1,
    "step: bf16, channels last, against fp32": 1,
    "step: bf16, channels last, compiled, against fp32": 1,
    "step: times the host waits for the GPU": 1,
    "micro-batch: loss in fp32, relative difference": 1,
    "micro-batch: gradient in float64, relative difference": 1,
    "micro-batch: gradient in fp32, relative difference": 1,
    "micro-batch: gradient in fp32, worst entry / norm": 1,
    "micro-batch: gradient in fp32, from float64": 1,
    "micro-batch: peak memory, against a plain batch": 1,
    "epoch: share of the time that the device computes": 2,
    "epoch: share of the time that a GPU is within steps": 2,
    "epoch: loader alone, against the step alone": 2,
    "epoch: share of waiting by the log, against measured": 2,
    "start: benchmarks/run.py --help": 1,
    "start: import geodtr_plugin": 1,
}
FOR_A_GPU = {
    "step: bf16, channels last, compiled, against fp32", "step: times the host waits for the GPU",
    "epoch: share of the time that a GPU is within steps",
}  # fmt: skip
EQUALITIES = ("difference", "levels from")  # rows that say how far ours is off


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(BENCHMARKS / "speed.py"), "--device", "cpu", "--size", "miniature", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The command with all its parts, and the table that it wrote."""
    folder = tmp_path_factory.mktemp("speed")
    done = run(folder, "--rounds", "1", "--csv", "table.csv")
    assert done.returncode == 0, done.stderr
    with (folder / "table.csv").open() as file:
        return done.stdout, list(csv.DictReader(file))


def test_the_table_has_all_lines(done):
    printed, rows = done
    found = [row["component"] for row in rows]
    assert {name: found.count(name) for name in dict.fromkeys(found)} == LINES
    for name in LINES:
        assert name in printed


def test_everything_that_needs_no_gpu_is_measured(done):
    missing = {row["component"] for row in done[1] if not row["ours"]}
    assert missing == FOR_A_GPU
    assert all("not measured" in row["note"] for row in done[1] if row["component"] in missing)


def test_ours_equals_the_peers(done):
    equalities = [row for row in done[1] if any(word in row["component"] for word in EQUALITIES) and row["floor"]]
    assert len(equalities) == 13
    assert all(row["met"] == "yes" for row in equalities), equalities


def test_ratios_are_those_of_the_figures(done):
    compared = [row for row in done[1] if row["ratio"]]
    assert len(compared) >= 12
    for row in compared:
        ours, peer = float(row["ours"]), float(row["peer"])
        more_is_better = row["unit"].endswith("/s") or row["rule"] == "within"
        assert float(row["ratio"]) == pytest.approx(ours / peer if more_is_better else peer / ours)


@pytest.fixture
def parts(monkeypatch):
    """The folder of the parts can be imported from; what the loader's script sets for processes does not stay."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def test_floors_are_judged_by_their_rule(parts):
    from speed_parts.rows import Row

    def met(ours, peer, floor, rule="faster", unit="s"):
        return Row("", "", ours, peer, unit, floor, rule).met

    assert met(1, 3, 3) and not met(1, 2.9, 3)
    assert met(3, 1, 3, unit="pairs/s") and not met(1, 3, 3, unit="pairs/s")
    assert met(1.2, 1, 1.25, "within") and not met(1.3, 1, 1.25, "within")
    assert met(0, None, 0, "below") and not met(2, None, 1, "below")
    assert met(1, 2, None) is None and met(None, 1, 3) is None


def test_memory_is_the_peak_of_a_process_of_its_own(parts):
    from speed_parts.measure import Bench

    floats = Bench("cpu", "small", 1).peak("loss", "one_step", pairs=1024, whose="ours") / 4 / 1024**2
    assert 3 < floats < 16  # a matrix and its gradient at least; all triplets would be hundreds


def test_an_unknown_part_is_named(tmp_path):
    done = run(tmp_path, "--what", "loss,speed")
    assert done.returncode == 2 and "no part is called speed" in done.stderr


@pytest.mark.parametrize("workers, seconds", [(0, 0.0), (0, 0.15), (2, 0.15)])
def test_an_epoch_tells_which_side_is_slow(parts, monkeypatch, tmp_path, workers, seconds):
    from speed_parts import epoch
    from speed_parts.step import Sizes

    monkeypatch.setattr("loader.GROUND_STORED", (28, 154))
    monkeypatch.setattr("loader.AERIAL_STORED", (96, 96))
    pairs, steps = 2, epoch.steps_of_an_epoch(3, workers)
    index = epoch.stored_pairs(tmp_path, 2, steps * pairs)
    config = epoch.settings(Sizes("tiny", (16, 44), (32, 32), pairs), False, workers)
    trainer = epoch.a_trainer(index, config, torch.device("cpu"))
    load = type(trainer.dataset).__getitem__

    def slowly(dataset, i):
        time.sleep(seconds)
        return load(dataset, i)

    monkeypatch.setattr(type(trainer.dataset), "__getitem__", slowly)
    found = epoch.medians(trainer, rounds=1 if seconds else 3)
    assert trainer.dataloader_num_workers == workers and trainer.epoch_stats
    assert found.within is None and found.first > pairs * seconds
    if seconds:
        assert found.busy < 0.8 and 0.15 < found.later < 1 and found.loader < found.step
        assert 0.5 < found.loader / (max(1, workers) / seconds) < 1.4
    else:
        assert found.busy > 0.4 and found.later < 0.5 and found.loader > found.step


def test_the_stored_pairs_are_places_of_their_own(parts, monkeypatch, tmp_path):
    from speed_parts.pictures import stored_pairs

    index = stored_pairs(tmp_path, 2, 5)
    assert len({*index.query_places.tolist()}) == len(index.pairs) == 5
    shapes = [list(images.read(4).shape) for images in (index.queries, index.references)]
    assert shapes == [[3, 224, 1232], [3, 750, 750]]
    assert (index.references.read(0) == index.references.read(4)).all()
    assert (index.references.read(0) != index.references.read(1)).any()


class Pretended:
    """A trainer on a GPU whose clock is a number; batches come and steps take as long as they are told to."""

    data_device, batch_size = "cuda", 10

    def __init__(self, workers: int, loads: list[float], alone: list[float], step: float):
        self.dataloader_num_workers, self.iterations_per_epoch = workers, len(loads)
        self.loads, self.alone, self.step, self.time = iter(loads), alone, step, 100.0
        seconds = sum(loads) + len(loads) * step
        self.epoch_stats = {"seconds": seconds, "data_wait_share": sum(loads) / seconds}

    def get_batch(self):
        self.time += next(self.loads)

    def train(self, first: int, last: int) -> None:
        for _ in range(self.iterations_per_epoch):
            self.get_batch()
            self.time += self.step
            self.end_of_iteration_hook(self)
        self.end_of_epoch_hook(self)

    def initialize_dataloader(self) -> None:
        self.dataloader_iter = (setattr(self, "time", self.time + seconds) for seconds in self.alone)

    def stop_workers(self) -> None:
        self.dataloader_iter = None

    def event(self, enable_timing: bool):
        """As torch.cuda's, in milliseconds."""
        own = SimpleNamespace(elapsed_time=lambda other: 1000 * (other.time - own.time))
        own.record = lambda stream: vars(own).update(time=self.time)
        return own


@pytest.mark.parametrize("workers, loads, alone, step, busy, later, loader", [
    (0, [9, 1, 1, 1], [9, 1, 1, 1], 3, 0.75, 0.2, 10),
    # four workers, of which each needs eight seconds a batch
    (4, [9, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0], [9, 0, 0, 1, 7, 0, 0, 1, 7, 0, 0, 1], 1, 0.5, 0.4, 5),
    (1, [9, 0, 0, 0], [9, 2, 2, 2], 3, 1, 0, 5),
])  # fmt: skip
def test_first_batches_do_not_count(parts, monkeypatch, workers, loads, alone, step, busy, later, loader):
    from speed_parts import epoch, watch

    trainer = Pretended(workers, loads, alone, step)
    for module in (epoch, watch):
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: trainer.time))
    for name in ("synchronize", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda device: None)
    monkeypatch.setattr(torch.cuda, "Event", trainer.event)
    monkeypatch.setattr(epoch, "steps_alone", lambda trainer, batch, count: count * step)
    found = epoch.one_round(trainer, None, 1)
    expected = epoch.Found(busy, busy, trainer.epoch_stats["data_wait_share"], later, 9, loader, 10 / step)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("workers, loader, step, busy, told", [
    (0, 200, 50, 0.8, "the device is the bottleneck: one process loads and computes by turns, and loads for 20% of"),
    (0, 50, 120, 0.3, "the loader is the bottleneck: one process loads and computes by turns, and loads for 70% of"),
    (0, 50, 120, 0.3, "the time; 3 workers on cores"),
    (0, 400, 2, 1.01, "loads for 0% of the time; 1 worker on cores"),
    (8, 400, 500, 0.8, "the loader is the bottleneck: 400 pairs/s come from 8 workers, the device takes 500; 10"),
    (8, 100, 500, 0.2, "40 workers would be needed, more than there are cores (16): --cache"),
    (1, 900, 500, 0.98, "the device is the bottleneck: 900 pairs/s come from 1 worker, the device takes 500; 1 worker"),
    (8, 900, 500, 0.98, "the device takes 500; 5 workers would do"),
    (8, 900, 500, 0.6, "beside each other they lack cores (16 are there)"),
])  # fmt: skip
def test_the_bottleneck_is_told_in_a_sentence(parts, workers, loader, step, busy, told):
    from speed_parts.epoch import Found, verdict

    sentence = verdict(Found(busy, None, 0, 0, 0, loader, step), workers, cores=16)
    assert told in sentence
    assert ("--cache" in sentence) == (workers > 0 and loader < step and math.ceil(workers * step / loader) > 16)


def test_on_a_gpu_the_share_has_a_floor(parts):
    from speed_parts.epoch import Found, rows

    for busy, met in ((0.9, True), (0.8, False)):
        found = Found(busy, 0.95, 0.1, 0.05, 1.0, 900.0, 500.0)
        table = list(rows(SimpleNamespace(on_gpu=True), "", 64, 16, found))
        assert [row.met for row in table] == [met, None, None, None]
        assert [row.ours for row in table] == [busy, 0.95, 900, 0.05]
