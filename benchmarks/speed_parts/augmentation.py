"""CHSG with layouts and colours on whole batches, against the authors' torchvision transforms image by image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torchvision.transforms import functional as tv

from geodtr_plugin import CHSG
from geodtr_plugin.augmentations import BatchTransform, ImageTransform
from geodtr_plugin.utils.malloc import keep_freed_memory

from . import authors
from .bench import Bench, random_images
from .step import make_step, model_sizes
from .table import Row


def measure(bench: Bench) -> Iterator[Row]:
    """Yield the time of a batch, two samples a pair, and its share of a training step."""
    keep_freed_memory()  # as a run does
    pairs = bench.choose(miniature=2, small=8, real=32)
    sizes = ((8, 24), (16, 16)) if bench.size == "miniature" else ((122, 671), (256, 256))
    images = [random_images(pairs, *size) for size in sizes]
    pictures = [[tv.to_pil_image(image) for image in batch] for batch in images]
    on_device, labels, colours = [batch.to(bench.device) for batch in images], torch.arange(pairs), authors.colours()
    augment = BatchTransform(*(ImageTransform(*size) for size in sizes), CHSG.variant("l+s")).to(bench.device)

    def one_by_one() -> None:
        samples = [sample for pair in zip(*pictures) for sample in authors.two_samples(*pair, colours, colours)]
        for batch in zip(*samples):
            torch.stack(batch).to(bench.device)

    times = bench.seconds({"ours": lambda: augment(*on_device, labels), "peer": one_by_one})
    size = f"{pairs} pairs, " + " + ".join("x".join(map(str, size)) for size in sizes)
    yield Row("augmentation: CHSG of a batch, two samples a pair", size, **times)
    step = make_step(bench, "bf16" if bench.on_gpu else "fp32")  # as recipes have it
    times = bench.seconds({"augmentation": step.augment, "step": step.run}, rounds=3)
    share = times["augmentation"] / times["step"]
    yield Row("augmentation: share of the training step", model_sizes(bench).name, share,
              unit="")  # fmt: skip
