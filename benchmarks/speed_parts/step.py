"""A training step of GeoDTR+ with CHSG and the counterfactual loss, in several precisions and layouts of memory."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from geodtr_plugin import CHSG, CounterfactualLoss, CrossViewTrainer, SoftMarginTripletLoss, create_model
from geodtr_plugin.augmentations import BatchTransform, ImageTransform
from geodtr_plugin.trainers.batches import Batch

from .bench import Bench, random_images
from .table import Row

VARIANTS = {"bf16": ("bf16", False), "bf16, channels last": ("bf16", True)}  # precision, channels last


class Sizes(NamedTuple):
    """A model and a batch."""

    backbone: str
    query: tuple[int, int]
    reference: tuple[int, int]
    pairs: int

    @property
    def name(self) -> str:
        """Pairs and backbone."""
        return f"{self.pairs} pairs, {self.backbone}"


def model_sizes(bench: Bench) -> Sizes:
    """Return the paper's sizes on a GPU; its images for two pairs on a CPU, or much less."""
    tiny = Sizes("tiny", (32, 88), (64, 64), 4)
    paper = Sizes("convnext_tiny", (122, 671), (256, 256), 32)
    return bench.choose(miniature=tiny, small=tiny, real=paper._replace(pairs=2), gpu=paper)


def measure(bench: Bench) -> Iterator[Row]:
    """Yield the time of plain fp32, each variant against it in turns, and how often the host waits for a GPU."""
    sizes, rounds = model_sizes(bench), 10 if bench.on_gpu else 3
    with plain_fp32():
        plain = make_step(bench, "fp32")
        (seconds,) = bench.seconds({"peer": plain.run}, rounds).values()
        yield Row("step: plain fp32", sizes.name, sizes.pairs / seconds, unit="pairs/s")
        for name, variant in VARIANTS.items():
            works = {"ours": make_step(bench, *variant).run, "peer": plain.run}
            ours, peer = (sizes.pairs / seconds for seconds in bench.seconds(works, rounds).values())
            yield Row(f"step: {name}, against fp32", sizes.name, ours, peer, "pairs/s")
    if bench.on_gpu:
        places = waits(make_step(bench, "bf16", channels_last=True))
        yield Row("step: times the host waits for the GPU", sizes.name, float(sum(places.values())), unit="",
                  note="; ".join(sorted(places)))  # fmt: skip


@contextmanager
def plain_fp32() -> Iterator[None]:
    """Make float32 products and convolutions float32 within the block, not TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


class Step:
    """A trainer and a batch that it sees again and again.

    Args:
        trainer: whose step is taken.
        batch: query uint8 `[B, 3, H, W]`, reference likewise, labels `[B]`; as a loader gives them.
    """

    def __init__(self, trainer: CrossViewTrainer, batch: list[torch.Tensor]):
        self.trainer, self.batch = trainer, batch
        trainer.load_batch = lambda: Batch(*trainer.to_device(*batch), [])
        trainer.set_to_train()

    def run(self) -> None:
        """Go from the images to the changed parameters."""
        self.trainer.forward_and_backward()

    def augment(self) -> None:
        """Do what of a step is augmentation."""
        self.trainer.prepare(*self.trainer.to_device(*self.batch))


def make_step(bench: Bench, precision: str = "fp32", channels_last: bool = False, compiled: bool = False) -> Step:
    """Return a step of GeoDTR+ in its paper's setting, from random weights."""
    sizes = model_sizes(bench)
    torch.manual_seed(0)
    model = create_model(
        "geodtr_plus", query_size=sizes.query, reference_size=sizes.reference, polar=False, backbone=sizes.backbone,
        pretrained=False,
    ).to(bench.device)  # fmt: skip
    model = model.to(memory_format=torch.channels_last) if channels_last else model
    transforms = ImageTransform(*sizes.query), ImageTransform(*sizes.reference)
    trainer = CrossViewTrainer(
        models={"trunk": torch.compile(model) if compiled else model},
        optimizers={"trunk_optimizer": torch.optim.AdamW(model.parameters(), lr=1e-4, fused=bench.on_gpu)},
        batch_size=sizes.pairs,
        loss_funcs={
            "metric_loss": SoftMarginTripletLoss(paired_rows=True),  # as a run knows its pairs
            "counterfactual_loss": CounterfactualLoss(),
        },
        dataset=[0] * sizes.pairs,
        data_device=bench.device,
        batch_transform=BatchTransform(*transforms, CHSG.variant("l+s")),
        precision=precision,
        max_grad_norm=1.0,
        progress=False,
    )
    batch = [random_images(sizes.pairs, *size) for size in (sizes.query, sizes.reference)]
    batch.append(torch.arange(sizes.pairs))
    return Step(trainer, [part.pin_memory() if bench.on_gpu else part for part in batch])


def waits(step: Step) -> Counter[str]:
    """Count where in a step the host waits for the GPU, by file and line."""
    step.run()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step.run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    # the switch itself warns once of being a prototype that misses some "synchronizing operations"
    waiting = (warning for warning in caught if "called a synchronizing" in str(warning.message))
    return Counter("/".join(warning.filename.split("/")[-2:]) + f":{warning.lineno}" for warning in waiting)
