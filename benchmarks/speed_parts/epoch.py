"""A whole epoch from JPEG files: how much of it the device computes, and which side the other one waits for.

All times are elapsed seconds, also where other parts count those of the CPU: waiting is what is measured here.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import default_collate

from geodtr_plugin import CrossViewTrainer
from geodtr_plugin.datasets import Split
from geodtr_plugin.harness.build import build_model, build_trainer, build_views, choose_workers
from geodtr_plugin.harness.config import RunConfig
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.malloc import keep_freed_memory

from .measure import Bench
from .pictures import stored_pairs
from .rows import Row
from .step import Sizes, Step, model_sizes
from .watch import Watch, now, on_gpu

FLOOR = 0.85  # of the time
LEAST = 4  # batches that each worker loads in an epoch, the first of which is not counted
WARM_UP = 3  # steps


class Found(NamedTuple):
    """What an epoch amounted to, and what either side does alone.

    Args:
        busy: seconds of the steps on a batch that lies ready, as a share of the seconds that they took in the epoch;
            where hardly any time is lost, noise can take it above 1.
        within: share of the epoch that the GPU spent within steps, by its own clock; None on a CPU.
        logged: the share of the epoch that the trainer reports as waiting for data (`data_wait_share`).
        later: the same without the wait for the first batch, which counts much in so short an epoch.
        first: seconds from the start of the epoch to its first batch; the workers are started in them.
        loader, step: pairs a second of either side alone.
    """

    busy: float
    within: float | None
    logged: float
    later: float
    first: float
    loader: float
    step: float

    @property
    def lost(self) -> float:
        """Share of the time in which the device does not compute."""
        return max(0.0, 1 - self.busy)


def measure(bench: Bench) -> Iterator[Row]:
    """With tiles that are resized by the workers, and with whole ones that the device unrolls (polar)."""
    keep_freed_memory()  # as a run does
    sizes, workers = model_sizes(bench), choose_workers(None, bench.device)
    steps = steps_of_an_epoch(bench.choose(miniature=3, small=8, real=4, gpu=60), workers)
    distinct = bench.choose(miniature=4, small=16, real=8, gpu=256)
    with tempfile.TemporaryDirectory() as folder:
        index = stored_pairs(Path(folder), distinct, steps * sizes.pairs)
        for polar in (False, True):
            trainer = a_trainer(index, settings(sizes, polar, workers), bench.device)
            found = medians(trainer, bench.rounds or bench.choose(miniature=1, small=5, real=1, gpu=3))
            yield from rows(bench, f"{sizes.name}{', polar' * polar}", steps, workers, found)


def steps_of_an_epoch(wanted: int, workers: int) -> int:
    """At least so many as wanted, and as many for each worker."""
    each = max(1, workers)
    return each * max(math.ceil(wanted / each), LEAST if workers else 2)


def settings(sizes: Sizes, polar: bool, workers: int) -> RunConfig:
    """A run with the paper's recipe: CHSG, counterfactual loss, bf16; from random weights."""
    shape = {"query_size": sizes.query, "polar": polar, "backbone": sizes.backbone, "pretrained": False}
    shape |= {} if polar else {"reference_size": sizes.reference}
    recipe = METHODS["geodtr_plus"].recipes["paper"].replace(model=shape, optim={"batch_size": sizes.pairs})
    return RunConfig("geodtr_plus", recipe, train="jpeg", test=(), workers=workers)


def a_trainer(index: Split, config: RunConfig, device: torch.device) -> CrossViewTrainer:
    """As a run builds it."""
    torch.manual_seed(0)
    model = build_model(config).to(device, memory_format=torch.channels_last)
    trainer = build_trainer(config, model, build_views(config, model), index, device)
    trainer.progress = False
    return trainer


def medians(trainer: CrossViewTrainer, rounds: int) -> Found:
    """Epoch, steps alone and loader alone take turns."""
    ready = a_batch(trainer)
    steps_alone(trainer, ready, WARM_UP)
    every = [one_round(trainer, ready, number) for number in range(1, rounds + 1)]
    return Found(*(None if None in own else statistics.median(own) for own in zip(*every)))


def one_round(trainer: CrossViewTrainer, ready: tuple[Tensor, Tensor, Tensor], epoch: int) -> Found:
    """One epoch, as many steps alone, and one passage of the loader alone.

    What comes before the workers run evenly is left out: their start, and as many batches as there are workers, since
    these come all at once; a long epoch has no more of that than a short one.

    The floor is about the share by the steps alone, not about that by the GPU's clock, which counts as work whatever
    lies between the first and the last kernel of a step: where loading takes cores from the process that starts the
    kernels, steps become longer, which the one share shows and the other hides. The two together tell why a device is
    idle: for want of data both are low, for want of cores only the first is.
    """
    skip = max(1, trainer.dataloader_num_workers)
    watch = Watch(trainer, skip)
    watch.run(epoch)
    counted, pairs = trainer.iterations_per_epoch - skip, int(trainer.batch_size)
    alone, loading = steps_alone(trainer, ready, counted), loader_alone(trainer, skip)
    seconds, logged = (trainer.epoch_stats[name] for name in ("seconds", "data_wait_share"))
    return Found(
        busy=alone / watch.seconds, within=watch.within(), logged=logged,
        later=(logged * seconds - watch.waited) / (seconds - watch.waited), first=watch.first,
        loader=counted * pairs / loading, step=counted * pairs / alone,
    )  # fmt: skip


def a_batch(trainer: CrossViewTrainer) -> tuple[Tensor, Tensor, Tensor]:
    """The first pairs as the loader gives them, page-locked where a GPU fetches them."""
    batch = default_collate([trainer.dataset[number] for number in range(int(trainer.batch_size))])
    return tuple(part.pin_memory() if on_gpu(trainer) else part for part in batch)


def steps_alone(trainer: CrossViewTrainer, batch: tuple[Tensor, Tensor, Tensor], count: int) -> float:
    """Seconds of so many steps on a batch that lies ready; its way to the device is part of a step."""
    step = Step(trainer, batch)
    begun = now(trainer)
    for _ in range(count):
        step.run()
    return now(trainer) - begun


def loader_alone(trainer: CrossViewTrainer, skip: int) -> float:
    """Seconds of the trainer's own loader for an epoch's batches but the first, nothing else running."""
    trainer.initialize_dataloader()
    there = []
    try:
        for _ in range(trainer.iterations_per_epoch):
            next(trainer.dataloader_iter)
            there.append(time.perf_counter())
    finally:
        trainer.stop_workers()
    return there[-1] - there[skip - 1]


def rows(bench: Bench, size: str, steps: int, workers: int, found: Found) -> Iterator[Row]:
    """The table's lines."""
    about = f"{steps} steps, {workers} workers, first batch after {found.first:.2g} s; elapsed seconds"
    yield Row("epoch: share of the time that the device computes", size, found.busy, unit="",
              floor=FLOOR if bench.on_gpu else None, rule="above", note=about)  # fmt: skip
    missing = "" if bench.on_gpu else "not measured: there is no GPU whose clock could tell"
    yield Row("epoch: share of the time that a GPU is within steps", size, found.within, unit="", note=missing)
    yield Row("epoch: loader alone, against the step alone", size, found.loader, found.step, "pairs/s",
              note=verdict(found, workers, os.cpu_count() or 1))  # fmt: skip
    whole = f"in the log of this short epoch, with the wait for its first batch: {found.logged:.0%}"
    yield Row("epoch: share of waiting by the log, against measured", size, found.later, found.lost, "",
              rule="below", note=whole)  # fmt: skip


def verdict(found: Found, workers: int, cores: int) -> str:
    """Which side is the bottleneck, and how many workers would be needed, in a sentence."""
    needed = math.ceil(max(1, workers) * found.step / found.loader)
    rates = f"{found.loader:.3g} pairs/s come from {so_many(workers)}, the device takes {found.step:.3g}"
    if not workers:
        slow = "loader" if found.loader < found.step else "device"
        return (
            f"the {slow} is the bottleneck: one process loads and computes by turns, and loads for {found.lost:.0%} of "
            f"the time; {so_many(needed)} on cores that the computing leaves free would load beside it"
        )
    if found.loader < found.step:
        remedy = f", more than there are cores ({cores}): --cache saves the decoding" if needed > cores else ""
        return f"the loader is the bottleneck: {rates}; {so_many(needed)} would be needed{remedy}"
    if found.busy < FLOOR:
        return f"neither side alone is the bottleneck: {rates}; beside each other they lack cores ({cores} are there)"
    return f"the device is the bottleneck: {rates}; {so_many(needed)} would do"


def so_many(workers: int) -> str:
    """That many workers."""
    return f"{workers} worker{'' if workers == 1 else 's'}"
