"""A training step of GeoDTR+ with CHSG and the counterfactual loss, in several precisions and layouts of memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geodtr_plugin import CHSG, CounterfactualLoss, CrossViewTrainer, SoftMarginTripletLoss, create_model
from geodtr_plugin.augmentations import BatchTransform, ImageTransform

from .measure import Bench
from .pictures import random_images
from .rows import Row

FLOOR = 3  # times as many pairs a second as plain fp32
WAITS = 0  # times that the host stands still for the GPU in a step
VARIANTS = {  # precision, channels last, compiled
    "bf16": ("bf16", False, False),
    "bf16, channels last": ("bf16", True, False),
    "bf16, channels last, compiled": ("bf16", True, True),
}


class Sizes(NamedTuple):
    """A model and a batch."""

    backbone: str
    query: tuple[int, int]
    reference: tuple[int, int]
    pairs: int

    @property
    def name(self) -> str:
        return f"{self.pairs} pairs, {self.backbone}"


def model_sizes(bench: Bench) -> Sizes:
    """The paper's on a GPU; its images for two pairs on a CPU, or much less."""
    tiny = Sizes("tiny", (32, 88), (64, 64), 4)
    paper = Sizes("convnext_tiny", (122, 671), (256, 256), 32)
    return bench.choose(miniature=tiny, small=tiny, real=paper._replace(pairs=2), gpu=paper)


def measure(bench: Bench) -> Iterator[Row]:
    """All variants against plain fp32, in turns."""
    sizes = model_sizes(bench)
    with plain_fp32():
        steps = {"fp32": a_step(bench, "fp32")}
        works = {"fp32": steps["fp32"].run}
        for name, (precision, channels_last, compiled) in VARIANTS.items():
            if compiled and not bench.on_gpu:
                continue
            steps[name] = a_step(bench, precision, channels_last, compiled)
            works[name] = steps[name].run
        failed = remove_failing(works)
        times = bench.seconds(works, rounds=10 if bench.on_gpu else 3)
    plain = sizes.pairs / times["fp32"]
    for name in VARIANTS:
        ours = sizes.pairs / times[name] if name in times else None
        why = failed.get(name, "" if ours else "not measured: compiling is for a GPU")
        floor = FLOOR if bench.on_gpu else None  # most CPUs gain little from bfloat16
        yield Row(f"step: {name}, against fp32", sizes.name, ours, plain, "pairs/s", floor, note=why)
    yield waits_row(bench, sizes.name, steps["bf16, channels last"])


def remove_failing(works: dict) -> dict[str, str]:
    """Takes out what cannot run here, such as a compiler that is not there; says why."""
    failed = {}
    for name in [*works][1:]:
        try:
            works[name]()
        except Exception as error:  # whatever a compiler raises
            failed[name] = f"not measured: {type(error).__name__}, {str(error).splitlines()[0][:120]}"
            del works[name]
    return failed


class plain_fp32:
    """Within it, float32 products and convolutions are float32, not TF32."""

    def __enter__(self):
        self.before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
        torch.backends.cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")

    def __exit__(self, *error):
        torch.backends.cudnn.allow_tf32 = self.before[0]
        torch.set_float32_matmul_precision(self.before[1])


class Step:
    """A trainer and a batch that it sees again and again.

    Args:
        trainer: whose step is taken.
        batch: query uint8 [B, 3, H, W], reference likewise, labels [B]; as a loader gives them.
    """

    def __init__(self, trainer: CrossViewTrainer, batch: tuple[Tensor, Tensor, Tensor]):
        self.trainer, self.batch = trainer, batch
        trainer.get_batch = lambda: (batch[:2], batch[2])
        trainer.set_to_train()

    def run(self) -> None:
        """From the images to the changed parameters."""
        self.trainer.forward_and_backward()

    def augment(self) -> None:
        """What of it is augmentation."""
        self.trainer.prepare(*self.batch)


def a_step(
    bench: Bench, precision: str = "fp32", channels_last: bool = False, compiled: bool = False
) -> Step:  # fmt: skip
    """GeoDTR+ in its paper's setting, from random weights."""
    sizes = model_sizes(bench)
    torch.manual_seed(0)
    model = create_model(
        "geodtr_plus", query_size=sizes.query, reference_size=sizes.reference, polar=False, backbone=sizes.backbone,
        pretrained=False,
    ).to(bench.device)  # fmt: skip
    model = model.to(memory_format=torch.channels_last) if channels_last else model
    trunk = torch.compile(model) if compiled else model
    views = ImageTransform(*sizes.query), ImageTransform(*sizes.reference)
    return Step(
        make_trainer(trunk, BatchTransform(*views, CHSG.variant("l+s")), bench.device, sizes.pairs, precision),
        images(sizes.pairs, sizes.query, sizes.reference, bench.device),
    )


def make_trainer(
    trunk: nn.Module, transform: BatchTransform, device: torch.device, pairs: int, precision: str = "fp32", **settings
) -> CrossViewTrainer:
    """The paper's losses and optimizer."""
    losses = {"metric_loss": SoftMarginTripletLoss(), "counterfactual_loss": CounterfactualLoss()}
    settings = {"loss_funcs": losses, "max_grad_norm": 1.0} | settings
    optimizer = torch.optim.AdamW(trunk.parameters(), lr=1e-4, fused=device.type == "cuda")
    return CrossViewTrainer(
        models={"trunk": trunk}, optimizers={"trunk_optimizer": optimizer}, batch_size=pairs, dataset=[0] * pairs,
        data_device=device, batch_transform=transform, precision=precision, progress=False, **settings,
    )  # fmt: skip


def images(pairs: int, query: tuple[int, int], reference: tuple[int, int], device: torch.device):
    """A batch as a loader gives it, page-locked where a GPU fetches it."""
    batch = [random_images(pairs, *size) for size in (query, reference)]
    batch.append(torch.arange(pairs))
    return tuple(part.pin_memory() if device.type == "cuda" else part for part in batch)


def waits_row(bench: Bench, size: str, step: Step) -> Row:
    """How often a step makes the host wait for the GPU."""
    found = waits(step) if bench.on_gpu else None
    note = "; ".join(sorted(found)) if found else "" if bench.on_gpu else "not measured: there is no GPU to wait for"
    count = None if found is None else float(sum(found.values()))
    return Row("step: times the host waits for the GPU", size, count, unit="", floor=WAITS, rule="below", note=note)


def waits(step: Step) -> dict[str, int]:
    """Where in a step the host waits, and how often."""
    step.run()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step.run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found: dict[str, int] = {}
    for warning in caught:
        if "synchronizing" in str(warning.message):
            where = "/".join(warning.filename.split("/")[-2:]) + f":{warning.lineno}"
            found[where] = found.get(where, 0) + 1
    return found
